"""Send each command to the owner of its slot in a Redis Cluster, in one write for each node.

What a node redirects, or can't be reached for, is held until the slot map has been fetched again.
Commands for other slots go on.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from ..clock import monotonic
from ..concurrency import end_task, start_task
from .cluster import Cluster, slot_of
from .commands import CommandClient, PendingCommand, Shards
from .errors import is_redirect, is_transient
from .pipeline import AutoPipeline
from .reconnecting import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..config.hosts import Address
    from ..ops.statistics import Counters
    from .commands import Script
    from .connector import Connector


class ClusterPipeline(CommandClient):
    """The command connections to the nodes of one Cluster.

    Args:
        cluster: Opens the connections.
        scripts: Loaded whenever a connection opens.
        counters: Count commands and round trips.
    """

    def __init__(self, cluster: Cluster, scripts: Sequence[Script], counters: Counters) -> None:
        self._cluster = cluster
        self._scripts = scripts
        self._counters = counters
        self._nodes: dict[Address, _NodePipeline] = {}
        # The calls for slots whose owner is uncertain, in order.
        self._held: dict[int, deque[PendingCommand]] = {}
        self._error: Exception = RedisConnectionError(f"{cluster.host} was not asked yet")
        self._backoff = Backoff()
        self._failed_at = 0.0
        self._search: asyncio.Task[None] | None = None
        # The slot map whose owners the connections are for.
        self._layout = cluster.layout
        # The former owners of slots for which calls were pending there as the map changed.
        self._former: dict[int, _NodePipeline] = {}
        self._cleanup: asyncio.Task[None] | None = None
        self._closed = False

    def slot(self, key: str) -> int:
        """Return the slot of a key."""
        return slot_of(key)

    def node(self, key: str) -> object:
        """Return an identity of the node that has a key, as last learnt."""
        return self._cluster.owner(slot_of(key))

    @property
    def layout(self) -> object:
        """An identity of the slot map, as last learnt."""
        return self._cluster.layout

    async def nodes(self) -> Sequence[CommandClient]:
        """Return the connections to each node that has keys now."""
        await self._cluster.learn()
        return [self._node(owner) for owner in self._cluster.owners()]

    async def close(self) -> None:
        """Close the connections. Later commands open some, and close them again."""
        self._closed = True
        await self._end_tasks()
        await asyncio.gather(*(node.close() for node in self._nodes.values()))
        # A reply to a node may have begun another search meanwhile.
        await self._end_tasks()

    def abandon(self) -> None:
        """Discard the connections without closing them; their event loop is already closed."""
        for node in self._nodes.values():
            node.abandon()

    def call(self, command: PendingCommand) -> asyncio.Future[Any]:
        """Add a command to the next write to its node."""
        command.start(self._cluster.host.timeout)
        command.slot = slot_of(command.key)
        self._put(command.slot, command)
        return command.reply

    async def _end_tasks(self) -> None:
        for task in (self._search, self._cleanup):
            if task is not None:
                await end_task(task)
        # A search that was cancelled before its first turn has failed none.
        self._fail_held(RedisConnectionError("The layer was closed"))

    def _put(self, slot: int, call: PendingCommand) -> None:
        if self._layout is not self._cluster.layout:
            self._follow_slots()
        owner = self._layout[slot]
        # Behind those held already, or not answered yet: the calls for one slot stay in order.
        if slot in self._held or owner is None:
            self._hold([call], self._error)
        elif slot in self._former and self._former[slot].has_pending(slot):
            self._former[slot].put(call)
        else:
            self._former.pop(slot, None)
            self._node(owner).put(call)

    def _node(self, owner: Address) -> _NodePipeline:
        node = self._nodes.get(owner)
        if node is None:
            connector = self._cluster.node(owner)
            self._nodes[owner] = node = _NodePipeline(
                connector, self._scripts, self._counters, self._hold
            )
            node.closed = self._closed
        return node

    def _hold(self, calls: Iterable[PendingCommand], error: Exception) -> None:
        """Hold calls until their slots' owners are known."""
        for call in calls:
            if call.slot is None:
                # It was for this node only.
                call.fail(error)
            else:
                self._held.setdefault(call.slot, deque()).append(call)
        self._error = error
        if self._held and not _runs(self._search):
            self._search = start_task(self._find_owners())

    async def _find_owners(self) -> None:
        """Fetch the slot map, and release the held calls to the owners of their slots."""
        try:
            while self._held:
                await self._pause()
                self._fail_overdue()
                try:
                    await self._cluster.learn()
                except (RedisError, OSError) as error:
                    self._error = error
                    if not is_transient(error):
                        self._fail_held(error)
                else:
                    self._release()
        except BaseException as error:
            # Cancelled, or a bug: propagate it, so that no caller hangs.
            self._fail_held(RedisConnectionError(f"The layer was closed: {error!r}"))
            raise

    async def _pause(self) -> None:
        """Back off if the last failure was recent."""
        before, self._failed_at = self._failed_at, monotonic()
        if monotonic() - before > Backoff.QUIET:
            self._backoff.reset()
            return
        soonest = min(call.deadline for calls in self._held.values() for call in calls)
        await asyncio.sleep(max(0.0, min(self._backoff.next(), soonest - monotonic())))
        self._failed_at = monotonic()

    def _release(self) -> None:
        for slot in list(self._held):
            if self._cluster.owner(slot) is not None:
                for call in self._held.pop(slot):
                    self._put(slot, call)

    def _fail_overdue(self) -> None:
        """Fail the calls that are past their deadline."""
        now = monotonic()
        for slot, calls in list(self._held.items()):
            while calls and calls[0].deadline <= now:
                calls.popleft().fail(self._error)
            if not calls:
                del self._held[slot]

    def _fail_held(self, error: Exception) -> None:
        held, self._held = self._held, {}
        for calls in held.values():
            for call in calls:
                call.fail(error)

    def _follow_slots(self) -> None:
        """Follow a change of the slot map, which all parts of the process share."""
        self._layout = self._cluster.layout
        self._former = {
            slot: node
            for address, node in self._nodes.items()
            for slot in node.slots()
            if self._layout[slot] != address
        }
        if not _runs(self._cleanup):
            self._cleanup = start_task(self._close_former_owners())

    async def _close_former_owners(self) -> None:
        """Close the connections to nodes that own no slots, once nothing is pending there."""
        while former := self._nodes.keys() - self._cluster.owners():
            for address in former:
                node = self._nodes[address]
                await node.finish()
                if address not in self._cluster.owners():
                    del self._nodes[address]
                    await node.close()


class _NodePipeline(AutoPipeline):
    """The command connection to one node.

    Args:
        connector: As for `AutoPipeline`.
        scripts: As for `AutoPipeline`.
        counters: As for `AutoPipeline`.
        hold: Called with the calls that this node can't execute, and the error.
    """

    def __init__(
        self,
        connector: Connector,
        scripts: Sequence[Script],
        counters: Counters,
        hold: Callable[[Iterable[PendingCommand], Exception], None],
    ) -> None:
        super().__init__(connector, scripts, counters)
        self._hold = hold

    def slots(self) -> set[int]:
        """Return the slots of the calls that are pending."""
        return {call.slot for call in self._pending() if call.slot is not None}

    def has_pending(self, slot: int) -> bool:
        """Return whether a call for the slot is pending."""
        return any(call.slot == slot for call in self._pending())

    def _pending(self) -> Iterator[PendingCommand]:
        # A caller resumes with its reply before the batch is cleared.
        calls = itertools.chain(self._batch, self._calls)
        return (call for call in calls if not call.reply.done())

    async def finish(self) -> None:
        """Wait until neither a command nor a reply is pending."""
        while self._runner is not None and not self._runner.done():
            await asyncio.wait([self._runner])

    def _put_back(self, calls: list[PendingCommand], error: Exception) -> None:
        slots = {call.slot for call in calls}
        later = [call for call in self._calls if call.slot in slots]
        self._calls = deque(call for call in self._calls if call.slot not in slots)
        self._hold([*calls, *later], error)

    async def _wait(self, error: Exception, seconds: float) -> None:  # noqa: ARG002
        """Hand over all calls for a node that is down: soon another one may own its slots."""
        if not is_redirect(error):
            calls, self._calls = self._calls, deque()
            self._hold(calls, error)


def _runs(task: asyncio.Task[None] | None) -> bool:
    return task is not None and not task.done()


def shards_to(
    connectors: Sequence[Connector],
    scripts: Sequence[Script],
    counters: Counters,
    *,
    by_key: bool = True,
) -> Shards:
    """Return the command connections of the running loop to these hosts.

    Args:
        connectors: One for each host.
        scripts: Loaded whenever a connection opens.
        counters: Count commands and round trips.
        by_key: Choose the node of a Cluster by each command's key, instead of using any one.
    """
    return Shards(
        [
            ClusterPipeline(connector, scripts, counters)
            if by_key and isinstance(connector, Cluster)
            else AutoPipeline(connector, scripts, counters)
            for connector in connectors
        ]
    )
