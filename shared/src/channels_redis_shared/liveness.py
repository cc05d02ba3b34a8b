"""Find out which processes have died, and whether a server has lost what was written there.

Both show in what a process writes again and again: others see that it has stopped, and the process
itself that something else is there than it wrote last.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from .clock import monotonic
from .transport.commands import Script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .transport.commands import CommandClient

# Sent with its source, so without the comments.
SWAP = Script.of(re.sub(r"(?m)^--.*\n", "", Script.read(__package__, "swap").source))

Name = TypeVar("Name")

# Replaces the canary of a process that has ended, or that others have found dead.
GONE = b"gone"
# Seconds between the two looks, in which a living process gives a sign. The queue layer looks at
# groups every 30 s: a little less, or the second look would be the third.
SECOND_LOOK_AFTER = 28
# Processes whose silence is remembered.
MAX_SILENT = 10_000


class _FirstLook(NamedTuple):
    # `monotonic()`
    at: float
    # Connections that this process had lost and opened again by then.
    reconnects: int


class Silence(Generic[Name]):
    """The processes that this one has found silent.

    A process is dead once two looks, half a minute apart, have found it silent, and this process
    has lost no connection in between. After an outage, or a pause of all machines, everyone is
    silent: no process was able to give a sign.

    Args:
        reconnects: Returns the number of connections that this process has lost and opened again.
    """

    def __init__(self, reconnects: Callable[[], int]) -> None:
        self._reconnects = reconnects
        self._first: dict[Name, _FirstLook] = {}

    def is_dead(self, process: Name, after: float = SECOND_LOOK_AFTER) -> bool:
        """Return whether a process that a look has just found silent is dead.

        Args:
            process: The process.
            after: Seconds between the two looks.
        """
        now, reconnects = monotonic(), self._reconnects()
        first = self._first.get(process)
        if first is None or first.reconnects != reconnects:
            if len(self._first) >= MAX_SILENT:
                self._first.clear()
            self._first[process] = _FirstLook(now, reconnects)
            return False
        return now - first.at >= after

    def keep(self, silent: Iterable[Name]) -> None:
        """Forget the first looks at all other processes: they have given a sign."""
        self._first = {one: self._first[one] for one in silent if one in self._first}

    def forget(self, process: Name) -> None:
        """Forget the first look at a process that has given a sign."""
        self._first.pop(process, None)


class Canary:
    """The key of a process that counts its looks at one server, or at a node of a Cluster.

    A server that comes back empty, or as it was some time ago, shows it in no other way.

    Args:
        key: The key, on that node.
        ttl: Seconds that the key lives without a look.
        head: Begins what the key holds, before the count.
    """

    def __init__(self, key: str, ttl: int, head: bytes = b"") -> None:
        self._key = key
        self._ttl = ttl
        self._head = head
        # Another one for each canary of the same key: event loops come one after the other.
        self._count = secrets.randbits(32)
        # What the key holds as long as the server has lost nothing.
        self._last: bytes | None = None

    async def look(self, commands: CommandClient) -> bool:
        """Return whether data may have been lost, or the process marked as gone, since last time.

        Raises:
            redis.exceptions.RedisError: The server is away. The next look decides.
        """
        last, value = self._last, self._head + b"%d" % self._count
        command = SWAP.call_with_source([self._key], value, self._ttl)
        before = await commands.execute(command, key=self._key, idempotent=True)
        self._last = value
        self._count += 1
        # The value itself: a lost reply may have reported a loss.
        return before in {GONE, value} or (last is not None and before != last)
