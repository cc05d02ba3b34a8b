"""Find out which processes have died: others see that their heartbeats have stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from .clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Name = TypeVar("Name")

# Seconds between the two looks, in which a living process gives a sign. The queue layer looks at
# groups every 30 s: a little less, or the second look would be the third.
SECOND_LOOK_AFTER = 28
# Processes whose silence is remembered.
MAX_SILENT = 10_000


class Silence(Generic[Name]):
    """The processes that this one has found silent.

    A process is dead once two looks, half a minute apart, have found it silent, and this process
    has lost no connection in between. After an outage, or a pause of all machines, everyone is
    silent: no process was able to give a sign.

    Args:
        connections: Returns what changes with each connection that this process has lost, such as
            their number.
    """

    def __init__(self, connections: Callable[[], object]) -> None:
        self._connections = connections
        # What that was at the first looks, and the `monotonic()` of each.
        self._connected: object = None
        self._first: dict[Name, float] = {}

    def is_dead(self, process: Name, after: float = SECOND_LOOK_AFTER) -> bool:
        """Return whether a process that a look has just found silent is dead.

        Args:
            process: The process.
            after: Seconds between the two looks.
        """
        now, connected = monotonic(), self._connections()
        if connected != self._connected or len(self._first) > MAX_SILENT:
            self._connected, self._first = connected, {}
        return now - self._first.setdefault(process, now) >= after

    def keep(self, silent: Iterable[Name]) -> None:
        """Forget the first looks at all other processes: they have given a sign."""
        self._first = {one: self._first[one] for one in silent if one in self._first}

    def forget(self, process: Name) -> None:
        """Forget the first look at a process that has given a sign."""
        self._first.pop(process, None)
