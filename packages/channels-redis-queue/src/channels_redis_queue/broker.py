"""Puts together the parts that a layer has in one process."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import weakref
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from . import maintenance, scripts
from ._shared.blocking.callers import SynchronousCallers
from ._shared.concurrency.compat import timeout
from ._shared.concurrency.loop_local import LoopLocal
from ._shared.delivery.consumers import ConsumerTracker
from ._shared.delivery.mailboxes import Mailboxes
from ._shared.ops.logs import OverflowLog
from ._shared.ops.statistics import Dropped, Statistics
from ._shared.transport.shards import Shards
from .group_directory import GroupDirectory
from .groups import Groups
from .keys import GONE, group_of, new_process_id
from .loop_state import LEAVING, LoopState
from .protocol.local_groups import LocalGroups
from .publisher import Publisher
from .receiver_pool import ReceiverPool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .config import QueueSettings

logger = logging.getLogger(__package__)


class QueueBroker:
    """One layer in one process: its identity, its members, its mailboxes, its event loops."""

    def __init__(self, settings: QueueSettings) -> None:
        self._settings = settings
        self.counters = settings.counters
        # Of the layer and the process: else two aliases of one layer, or the children of one
        # preloaded parent, would take each other's messages.
        self.id = new_process_id()
        self.pid = os.getpid()
        _processes.add(self)
        self.loops = LoopLocal(self._make_loop_state)
        self._synchronous = SynchronousCallers(settings.connectors, scripts.ALL, settings.counters)
        self.local_groups = LocalGroups(settings.group_expiry)
        self._overflows = OverflowLog(logger)
        self.mailboxes = Mailboxes(
            settings.mailbox_bytes,
            self._overflowed,
            on_overflow=settings.on_overflow,
            counters=settings.counters,
        )
        self.consumers = ConsumerTracker(
            self.mailboxes, settings.channel_expiry, self._channels_gone
        )
        self.groups = Groups(settings, lambda: self.shards, self.local_groups)
        self.publisher = Publisher(settings)
        self.group_directory = GroupDirectory(settings, lambda: self.shards)
        self.receiver_pool = ReceiverPool(
            settings,
            self.consumers,
            self.local_groups,
            self.loops,
            self._found_empty,
        )

    @property
    def shards(self) -> Shards:
        """The command connections for calls of the running event loop."""
        loop_state = self.loops.find()
        shards = self._synchronous.shards() if loop_state is None else loop_state.shards
        return shards or self.loops.get().shards

    def statistics(self) -> Statistics:
        """Return what the layer has done in this process, and has now."""
        counters = self.counters
        return Statistics(
            sent=counters.sent,
            received=counters.received,
            dropped=Dropped(
                capacity=counters.over_capacity,
                expired=counters.expired,
                undecodable=counters.undecodable,
                mailbox_full=self._overflows.total,
            ),
            reconnects=counters.reconnects + self.receiver_pool.reconnects,
            outage_seconds=self.receiver_pool.outage_seconds,
            mailboxes=len(self.mailboxes),
            waiting=self.mailboxes.unread,
            groups=len({group_of(virtual) for virtual in self.local_groups.virtuals()}),
            commands=counters.commands,
            round_trips=counters.round_trips,
        )

    async def close_connections(self) -> None:
        """Close what is open in the running event loop, and for synchronous callers."""
        try:
            await self.loops.close()
        finally:
            await self._synchronous.close()

    async def mark_gone(self) -> None:
        """Tell those that send to the groups of this process that it has gone."""
        # Before the timer, beside which a loop would get connections of its own.
        settings, shards = self._settings, self.shards
        async with timeout(LEAVING):
            for address in self.local_groups.addresses():
                alive = settings.keys.messages(address).alive
                command = ("SET", alive, GONE, "EX", settings.mark_stays)
                await shards.of(address).execute(command, key=alive, idempotent=True)

    def _make_loop_state(self) -> LoopState:
        shards = Shards.to(self._settings.connectors, scripts.ALL, self.counters)
        return LoopState(shards, self._start_upkeep, self._leave)

    def _start_upkeep(self, loop_state: LoopState) -> None:
        settings, local_groups = self._settings, self.local_groups
        groups = self._groups_through(loop_state.shards)
        guards = [
            maintenance.LossDetector(
                shard, loop_state.shards, settings.keys, self.id, local_groups, groups
            )
            for shard in range(len(loop_state.shards))
        ]
        for guard in guards:
            loop_state.spawn(guard.watch())
        loop_state.spawn(maintenance.sweep(self.consumers, local_groups, self._deserted))
        loop_state.spawn(maintenance.announce(groups.publish_departures))

        def buried() -> None:
            for guard in guards:
                guard.lose_all()

        loop_state.spawn(maintenance.beat(settings, loop_state.shards, local_groups, buried))

    def _overflowed(self, channel: str, count: int) -> None:
        # One that has lost its consumer misses nothing.
        if self.consumers.has_consumer(channel):
            self._overflows.dropped(channel, count)

    def _channels_gone(self, channels: Sequence[str]) -> None:
        for channel in channels:
            self.mailboxes.discard(channel)
            self._overflows.forget(channel)
        local_groups = self.local_groups
        virtuals = maintenance.leave_all(channels, local_groups)
        self._deserted([virtual for virtual in virtuals if not local_groups.members(virtual)])

    async def _leave(self, shards: Shards) -> None:
        """Tell Redis which members have gone as an event loop ends."""
        groups = self._groups_through(shards)
        await groups.forget(self.local_groups.empty())
        await groups.publish_departures()

    def _deserted(self, virtuals: Sequence[str]) -> None:
        if virtuals:
            loop_state = self.loops.get()
            loop_state.spawn(self._groups_through(loop_state.shards).forget(virtuals))

    def _found_empty(self, virtual: str) -> None:
        # A loop state that closes is not found: it tells Redis what is empty once its receivers
        # have read to the end. A new one would open connections that nothing closes.
        if self.loops.find() is not None:
            self._deserted([virtual])

    def _groups_through(self, shards: Shards) -> Groups:
        # A loop state uses its own connections, also while it closes.
        return Groups(self._settings, lambda: shards, self.local_groups)


_processes: weakref.WeakSet[QueueBroker] = weakref.WeakSet()


def _mark_all_gone() -> None:
    """Mark what still has members in groups when the interpreter ends.

    Some servers never end their event loop, and synchronous code has none that lasts.
    """
    # The first that fails is the last: a server that is away must not hold up the end for each.
    with contextlib.suppress(RedisError, OSError, RuntimeError, asyncio.TimeoutError):
        for process in list(_processes):
            # Not what was inherited through a fork.
            if process.pid == os.getpid() and len(process.local_groups):
                asyncio.run(process.mark_gone())


atexit.register(_mark_all_gone)
