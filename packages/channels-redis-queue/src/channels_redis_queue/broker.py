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
from ._shared.delivery.overflows import OverflowLog
from ._shared.ops.statistics import Dropped, Statistics
from ._shared.transport.shards import Shards
from .group_directory import Census
from .groups import Groups
from .keys import GONE, group_of, new_process_id
from .loop_state import LEAVING, Home
from .protocol.local_groups import Memberships
from .publisher import FanOut
from .receiver_pool import Reception

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .config import Settings

logger = logging.getLogger(__package__)


class Process:
    """One layer in one process: its identity, its members, its mailboxes, its event loops."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.counters = settings.counters
        # Of the layer and the process: else two aliases of one layer, or the children of one
        # preloaded parent, would take each other's messages.
        self.id = new_process_id()
        self.pid = os.getpid()
        _processes.add(self)
        self.homes = LoopLocal(self._make_home)
        self._synchronous = SynchronousCallers(settings.connectors, scripts.ALL, settings.counters)
        self.memberships = Memberships(settings.group_expiry)
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
        self.groups = Groups(settings, lambda: self.shards, self.memberships)
        self.fan_out = FanOut(settings)
        self.census = Census(settings, lambda: self.shards)
        self.reception = Reception(
            settings,
            self.consumers,
            self.memberships,
            self.homes,
            lambda virtual: self._deserted([virtual]),
        )

    @property
    def shards(self) -> Shards:
        """The command connections for calls of the running event loop."""
        home = self.homes.find()
        shards = self._synchronous.shards() if home is None else home.shards
        return shards or self.homes.get().shards

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
            reconnects=counters.reconnects + self.reception.reconnects,
            outage_seconds=self.reception.outage_seconds,
            mailboxes=len(self.mailboxes),
            waiting=self.mailboxes.unread,
            groups=len({group_of(virtual) for virtual in self.memberships.virtuals()}),
            commands=counters.commands,
            round_trips=counters.round_trips,
        )

    async def close_connections(self) -> None:
        """Close what is open in the running event loop, and for synchronous callers."""
        try:
            await self.homes.close()
        finally:
            await self._synchronous.close()

    async def mark_gone(self) -> None:
        """Tell those that send to the groups of this process that it has gone."""
        # Before the timer, beside which a loop would get connections of its own.
        settings, shards = self._settings, self.shards
        async with timeout(LEAVING):
            for address in self.memberships.addresses():
                alive = settings.keys.messages(address).alive
                command = ("SET", alive, GONE, "EX", settings.mark_stays)
                await shards.of(address).execute(command, key=alive, repeatable=True)

    def _make_home(self) -> Home:
        shards = Shards.to(self._settings.connectors, scripts.ALL, self.counters)
        return Home(shards, self._start_upkeep, self._leave)

    def _start_upkeep(self, home: Home) -> None:
        settings, memberships = self._settings, self.memberships
        guards = [
            maintenance.Guard(shard, home.shards, settings.keys, self.id, memberships, self.groups)
            for shard in range(len(home.shards))
        ]
        for guard in guards:
            home.spawn(guard.watch())
        home.spawn(maintenance.sweep(self.consumers, memberships, self._deserted))
        home.spawn(maintenance.announce(self.groups.publish_departures))

        def buried() -> None:
            for guard in guards:
                guard.lose_all()

        home.spawn(maintenance.beat(settings, home.shards, memberships, buried))

    def _overflowed(self, channel: str, count: int) -> None:
        # One that has lost its consumer misses nothing.
        if self.consumers.is_alive(channel):
            self._overflows.dropped(channel, count)

    def _channels_gone(self, channels: Sequence[str]) -> None:
        for channel in channels:
            self.mailboxes.discard(channel)
            self._overflows.forget(channel)
        memberships = self.memberships
        virtuals = maintenance.leave_all(channels, memberships)
        self._deserted([virtual for virtual in virtuals if not memberships.members(virtual)])

    async def _leave(self, shards: Shards) -> None:
        """Tell Redis which members have gone as an event loop ends."""
        # Through the connections that are about to be closed.
        groups = Groups(self._settings, lambda: shards, self.memberships)
        await groups.forget(self.memberships.empty())
        await groups.publish_departures()

    def _deserted(self, virtuals: Sequence[str]) -> None:
        if virtuals:
            self.homes.get().spawn(self.groups.forget(virtuals))


_processes: weakref.WeakSet[Process] = weakref.WeakSet()


def _mark_all_gone() -> None:
    """Mark what still has members in groups when the interpreter ends.

    Some servers never end their event loop, and synchronous code has none that lasts.
    """
    # The first that fails is the last: a server that is away must not hold up the end for each.
    with contextlib.suppress(RedisError, OSError, RuntimeError, asyncio.TimeoutError):
        for process in list(_processes):
            # Not what was inherited through a fork.
            if process.pid == os.getpid() and len(process.memberships):
                asyncio.run(process.mark_gone())


atexit.register(_mark_all_gone)
