"""Sends what a loop that does not last asks for: on a wire if it is free, else by the courier.

The way to the courier and back is two changes of thread. So the courier gives its connection away
when nothing is under way on it, and opens another one for calls that find the first in use.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from . import native
from .batching import Commands
from .commands import pack
from .courier import courier
from .incoming import has_reader
from .outages import is_outage
from .shards import Shards
from .wires import NOT_SENT, Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .calls import Joint
    from .connections import Connector
    from .hosts import Host
    from .statistics import Counters


class Direct(Commands):
    """The commands of loops that do not last, to one host.

    Args:
        shard: The host's place among all.
        seconds: How long a command may take.
        lasting: Returns the command connections of the running loop, which lasts.
        counters: Count commands and round trips.
    """

    def __init__(
        self, shard: int, seconds: float, lasting: Callable[[], Shards], counters: Counters
    ) -> None:
        self._shard = shard
        self._seconds = seconds
        self._lasting = lasting
        self._counters = counters
        self._shelf = Shelf()
        # Whether a wire was lost since the courier was last asked.
        self._lost = False

    async def call(  # noqa: PLR0913, PLR0917
        self,
        content: Any,
        joint: Joint | None,
        size: int,
        repeatable: bool,  # noqa: FBT001
        fills: Mapping[str, int],
        key: str,
    ) -> Any:
        """Send it now, alone; or with those of other callers, if the wire is in use."""
        wire = self._shelf.take()
        if wire is not None:
            reply: Any = NOT_SENT
            try:
                packed = content if joint is None else pack(joint.command([content]))
                reply = await wire.exchange(packed, self._seconds)
            except RedisConnectionError:
                if not repeatable:
                    raise
            finally:
                # With a reply that nobody has read, the wire is of no use to others.
                answered = not _is_refused(reply)
                self._lost |= not answered
                self._shelf.give_back(wire, usable=answered)
            if answered:
                self._counters.commands += 1
                self._counters.round_trips += 1
                if joint is not None and not isinstance(reply, Exception):
                    [reply] = joint.replies(reply, [content])
                if isinstance(reply, Exception):
                    raise reply
                return reply
        home = asyncio.get_running_loop()
        return await courier.get().run(
            lambda: self._carry(home, (content, joint, size, repeatable, fills, key))
        )

    async def nodes(self) -> Sequence[Commands]:
        """Return this."""
        return [self]

    async def close(self) -> None:
        """Close the wire."""
        self.abandon()

    def abandon(self) -> None:
        """Close the wire."""
        self._shelf.clear()

    async def _carry(self, home: asyncio.AbstractEventLoop, call: tuple[Any, ...]) -> Any:
        """Send it from the courier's loop, on the connection there."""
        commands = self._lasting()[self._shard]
        lost, self._lost = self._lost, False
        if lost:
            # What is open here was quiet for longer, and may be as dead without a sign.
            spare = await commands.lend()
            if spare is not None:
                spare.close()
        try:
            reply = await commands.call(*call)
        except BaseException:
            # Another one will take the lost one's place.
            self._lost |= lost
            raise
        self._counters.reconnects += lost
        # At the interpreter's exit there is no courier, and this is the caller's own loop.
        if self._shelf.is_empty and asyncio.get_running_loop() is not home:
            await asyncio.sleep(0)  # its task ends
            wire = await commands.lend()
            if wire is not None:
                self._shelf.fill(wire)
        return reply


def _is_refused(reply: Any) -> bool:
    """Tell whether the command was not carried out, but may be on another connection."""
    if not isinstance(reply, Exception):
        return reply is NOT_SENT
    # Those of the second class say that the server can't serve yet, or does not know us any more.
    return isinstance(reply, NoScriptError | RedisConnectionError) or is_outage(reply)


def direct(
    connectors: Sequence[Connector], lasting: Callable[[], Shards], counters: Counters
) -> Shards | None:
    """Return the commands of loops that do not last; None if all have to go by the courier.

    Args:
        connectors: One for each host.
        lasting: Returns the command connections of the running loop, which lasts.
        counters: Count commands and round trips.
    """
    hosts = [connector.host for connector in connectors]
    # Windows, where a socket can't go from one event loop to another, has no poll.
    possible = has_reader() and hasattr(select, "poll") and not native.patched_by_gevent()
    if not possible or not all(map(_is_plain, hosts)):
        return None
    return Shards(
        [Direct(shard, host.timeout, lasting, counters) for shard, host in enumerate(hosts)]
    )


def _is_plain(host: Host) -> bool:
    return not (host.nodes or host.url == "rediss://" or "connection_class" in host.arguments)
