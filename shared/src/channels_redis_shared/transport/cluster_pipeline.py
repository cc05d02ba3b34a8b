"""Sends each command to the node of a Redis Cluster that has its keys, in one write for each node.

What a node refuses, or can't be reached for, waits until the Cluster was asked again who owns its
slot. Meanwhile the other slots go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from ..concurrency.compat import start_task
from ..ops.statistics import Counters
from .batch import PendingCommand
from .cluster import slot_of
from .errors import is_redirect, is_transient
from .pipeline import AutoPipeline, CommandClient
from .reconnecting import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .batch import Coalescer
    from .cluster import Address, Cluster
    from .commands import Script
    from .connector import Connector

# Seconds without trouble, after which the next trouble is looked into at once.
QUIET = 3.0


class ClusterPipeline(CommandClient):
    """The command connections to the nodes of one Cluster.

    Args:
        cluster: Opens the connections.
        scripts: Loaded whenever a connection opens.
        counters: Count commands and round trips.
    """

    def __init__(
        self,
        cluster: Cluster,
        scripts: Sequence[Script] = (),
        counters: Counters | None = None,
    ) -> None:
        self._cluster = cluster
        self._scripts = scripts
        self._counters = counters or Counters()
        self._nodes: dict[Address, _NodePipeline] = {}
        # The slots whose owner is not known for sure, and what waits for it, in order.
        self._held: dict[int, deque[PendingCommand]] = {}
        self._trouble: Exception = RedisConnectionError(f"{cluster.host} was not asked yet")
        self._backoff = Backoff()
        self._troubled_at = 0.0
        self._seeker: asyncio.Task[None] | None = None

    def slot(self, key: str) -> int:
        """Return the slot of a key."""
        return slot_of(key)

    def node(self, key: str) -> object:
        """Return what stands for the node that has a key, as far as known."""
        return self._cluster.owner(slot_of(key))

    @property
    def layout(self) -> object:
        """Stands for the nodes and their keys, as far as known."""
        return self._cluster.layout

    async def nodes(self) -> Sequence[CommandClient]:
        """Return the connections to each node that has keys now."""
        await self._cluster.learn()
        return [self._node(owner) for owner in self._cluster.owners()]

    async def close(self) -> None:
        """Close the connections. A later command opens new ones."""
        if self._seeker is not None:
            self._seeker.cancel()
            await asyncio.wait([self._seeker])
        await asyncio.gather(*(node.close() for node in self._nodes.values()))

    def abandon(self) -> None:
        """Drop the connections without a word: their event loop is closed."""
        for node in self._nodes.values():
            node.abandon()

    def call(  # noqa: PLR0913, PLR0917
        self,
        content: Any,
        coalescer: Coalescer | None,
        size: int,
        idempotent: bool,  # noqa: FBT001
        quotas: Mapping[str, int],
        key: str,
    ) -> asyncio.Future[Any]:
        """Let the call go out with the others of this turn; see `PendingCommand`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._cluster.host.timeout
        reply, slot = loop.create_future(), slot_of(key)
        self._put(
            slot,
            PendingCommand(content, coalescer, size, reply, deadline, idempotent, quotas, slot),
        )
        return reply

    def _put(self, slot: int, call: PendingCommand) -> None:
        held, owner = self._held.get(slot), self._cluster.owner(slot)
        if held is not None:
            # Behind those that wait already: what is for one slot stays in order.
            held.append(call)
        elif owner is None:
            self._hold([call], self._trouble)
        else:
            self._node(owner).put(call)

    def _node(self, owner: Address) -> _NodePipeline:
        node = self._nodes.get(owner)
        if node is None:
            connector = self._cluster.node(owner)
            self._nodes[owner] = node = _NodePipeline(
                connector, self._scripts, self._counters, self._hold
            )
        return node

    def _hold(self, calls: Iterable[PendingCommand], error: Exception) -> None:
        """Keep calls until their slots' owners are known."""
        for call in calls:
            if call.slot is None:
                # It was for this node and no other.
                call.fail(error)
            else:
                self._held.setdefault(call.slot, deque()).append(call)
        self._trouble = error
        if self._held and self._seeker is None:
            self._seeker = start_task(self._seek())

    async def _seek(self) -> None:
        """Find out who owns the slots of what is held, and let it go there."""
        try:
            while self._held:
                await self._pause()
                self._fail_late()
                try:
                    await self._cluster.learn()
                except (RedisError, OSError) as error:
                    self._trouble = error
                    if not is_transient(error):
                        self._fail_held(error)
                else:
                    self._release()
        except BaseException as error:
            # Cancelled, or a fault of ours: no caller may be left waiting.
            self._fail_held(RedisConnectionError(f"The layer was closed: {error!r}"))
            raise
        finally:
            self._seeker = None
        await self._forget_old_nodes()

    async def _pause(self) -> None:
        """Wait a while if it is not long ago that there was trouble."""
        loop = asyncio.get_running_loop()
        before, self._troubled_at = self._troubled_at, loop.time()
        if loop.time() - before > QUIET:
            self._backoff.reset()
            return
        soonest = min(call.deadline for calls in self._held.values() for call in calls)
        await asyncio.sleep(max(0.0, min(self._backoff.next(), soonest - loop.time())))
        self._troubled_at = loop.time()

    def _release(self) -> None:
        for slot in list(self._held):
            if self._cluster.owner(slot) is not None:
                for call in self._held.pop(slot):
                    self._put(slot, call)

    def _fail_late(self) -> None:
        """Give up on the calls whose time is over."""
        now = asyncio.get_running_loop().time()
        for slot, calls in list(self._held.items()):
            while calls and calls[0].deadline <= now:
                calls.popleft().fail(self._trouble)
            if not calls:
                del self._held[slot]

    def _fail_held(self, error: Exception) -> None:
        held, self._held = self._held, {}
        for calls in held.values():
            for call in calls:
                call.fail(error)

    async def _forget_old_nodes(self) -> None:
        owners = self._cluster.owners()
        for address in [old for old in self._nodes if old not in owners]:
            if not self._nodes[address].busy:
                await self._nodes.pop(address).close()


class _NodePipeline(AutoPipeline):
    """The command connection to one node.

    Args:
        connector: As for `AutoPipeline`.
        scripts: As for `AutoPipeline`.
        counters: As for `AutoPipeline`.
        hold: Gets what this node can't carry out, with the reason.
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

    @property
    def busy(self) -> bool:
        """Whether there is anything to send, or a reply to come."""
        return self._runner is not None

    def _put_back(self, calls: list[PendingCommand], error: Exception) -> None:
        slots = {call.slot for call in calls}
        later = [call for call in self._calls if call.slot in slots]
        self._calls = deque(call for call in self._calls if call.slot not in slots)
        self._hold([*calls, *later], error)

    async def _wait(self, error: Exception, seconds: float) -> None:  # noqa: ARG002
        """Keep nothing for a node that is away: soon another one may own its slots."""
        if not is_redirect(error):
            calls, self._calls = self._calls, deque()
            self._hold(calls, error)
