"""The brokers of a layer in one process, and what they share, such as all for sending."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import weakref
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from . import maintenance
from ._shared.background import BackgroundShards
from ._shared.base_layer import ForeignChannelError
from ._shared.brokers import Brokers
from ._shared.concurrency import running_loop, timeout
from ._shared.history import Joined
from ._shared.history.store import Question
from ._shared.transport.reconnecting import OutageLog
from .broker import LEAVE_TIMEOUT, QueueBroker
from .groups import Groups
from .keys import is_in_this_layer, new_process_id, process_of, virtual_of
from .liveness import Liveness
from .publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._shared.transport.commands import Shards
    from .config import QueueSettings

logger = logging.getLogger(__package__)

# The ids that brokers have and had. Beyond it the oldest former ones are forgotten.
MAX_IDS = 10_000


class QueueBrokers(Brokers[QueueBroker]):
    """The brokers of a layer in one process, and what they share."""

    def __init__(self, settings: QueueSettings) -> None:
        super().__init__(self._make_broker)
        self.settings = settings
        self.counters = settings.counters
        self._pid = os.getpid()
        _all.add(self)
        self._background = BackgroundShards(
            settings.connectors, settings.scripts, settings.counters
        )
        self._liveness = Liveness(settings)
        self.groups = Groups(settings, self._liveness)
        self.publisher = Publisher(settings, self.groups)
        # One for each host.
        self.outages = [OutageLog(logger, str(connector.host)) for connector in settings.connectors]
        # Called with channels whose consumers have ended.
        self.observers: list[Callable[[list[str]], object]] = []
        # By the id in the names of their channels, which is valid for longer than a broker.
        self._by_id: dict[str | None, weakref.ref[QueueBroker] | None] = {}

    @property
    def shards(self) -> Shards:
        """The command connections for calls of the running event loop."""
        broker = self.by_loop.get(asyncio.get_running_loop())
        if broker is not None and broker.shards is not None:
            return broker.shards
        return self._background.for_running_loop() or self.get().open()

    def owner(self, channel: str) -> QueueBroker:
        """Return the broker that a channel's name identifies, or else the running loop's."""
        return self._find(channel) or self.get()

    async def own(self, channel: str) -> QueueBroker | None:
        """Return the broker of a channel, attached to the running event loop.

        Returns:
            None if it belongs to another loop that still runs, or to another process.
        """
        broker = self._find(channel)
        if broker is not None and broker.loop is not asyncio.get_running_loop():
            try:
                await self.adopt(broker, channel)
            except RuntimeError:
                return None
        return broker

    async def join(self, group: str, channel: str) -> None:
        """Make a channel a member of a group.

        Raises:
            redis.exceptions.RedisError: As `CommandClient.execute`.
        """
        broker = await self.own(channel)
        if broker is None:
            await self.groups.add(group, channel, self.shards)
        else:
            await broker.join(group, channel)

    async def leave(self, group: str, channel: str) -> None:
        """End a channel's membership of a group, after what was sent to the group before.

        Raises:
            redis.exceptions.RedisError: As `CommandClient.execute`.
        """
        at, after = await self.groups.discard(group, channel, self.shards)
        broker = await self.own(channel)
        if broker is not None:
            broker.local_groups.begin_leave(virtual_of(channel, group), channel, at, after)
        elif is_in_this_layer(channel):
            await self.publisher.send_leave(group, channel, at, self.shards)

    async def follow(self, group: str, channel: str, since: str | None, rewind: int) -> Joined:
        """Make a channel a member of a group that keeps a history; see `QueueBroker.follow`.

        A channel of another process or event loop gets nothing from the history.

        Raises:
            redis.exceptions.RedisError: As `CommandClient.execute`.
        """
        broker = await self.own(channel)
        if broker is not None:
            return await broker.follow(group, channel, since, rewind)
        await self.groups.add(group, channel, self.shards)
        replay = await self.settings.store.read(group, Question(None), self.shards.of(group))
        return Joined(replay.position, recovered=True)

    async def open(self, channel: str) -> QueueBroker:
        """Return the broker to receive on a channel with, attached to the running event loop.

        Raises:
            RuntimeError: The channel belongs to another event loop, process or layer.
        """
        if process_of(channel) is not None:
            owner = self._find(channel)
            if owner is None:
                raise ForeignChannelError(channel)
            await self.adopt(owner, channel)
            return owner
        broker = self.get()
        # What earlier event loops have taken and not acknowledged is received here.
        for other in self.values():
            if other.knows(channel):
                with contextlib.suppress(RuntimeError):  # its loop still runs
                    await self.adopt(other, channel)
                    other.connect()
                    broker = other
        return broker

    def new_broker_id(self) -> str:
        """Return the id in the names of channels of the running event loop, or of one to come."""
        if running_loop() is not None:
            return self.get().id
        with self._lock:
            known = (process for process in self._by_id if self._broker(process) is None)
            return next(known, None) or self._new_id(None)

    def count_groups(self) -> int:
        """Return the number of groups that have members in this process."""
        return len(set().union(*(broker.groups() for broker in self.values())))

    async def close_connections(self) -> None:
        """Close what is open in the running event loop, and in the background."""
        try:
            await self.close()
        finally:
            await self._background.close()

    async def flush(self) -> None:
        """Drop all messages and members, here and in Redis."""
        for broker in self.values():
            self.call(broker, broker.clear)
        await maintenance.flush(self.shards, self.settings.keys)

    async def mark_gone(self) -> None:
        """Notify those that send to the groups of this process that it has ended."""
        async with timeout(LEAVE_TIMEOUT):
            for broker in self.values():
                await self._liveness.mark_gone(broker.local_groups.addresses(), self.shards)

    @property
    def must_mark_gone(self) -> bool:
        """True if it has members, and was not inherited through a fork."""
        return self._pid == os.getpid() and any(
            len(broker.local_groups) for broker in self.values()
        )

    def _make_broker(self) -> QueueBroker:
        broker = QueueBroker(
            self.settings,
            self.groups,
            self._liveness,
            self.outages,
            lambda: self.shards,
            self.call,
            self._sweep,
            self._new_id,
        )
        broker.consumers.observe(self._channels_ended)
        return broker

    def _sweep(self) -> None:
        """Drop what ended consumers leave behind, here and in brokers that have no event loop."""
        here = asyncio.get_running_loop()
        with self._lock:
            for broker in self.values():
                if broker.loop is None or broker.loop is here:
                    broker.consumers.sweep()
            self._forget_ended()

    def _broker(self, process: str | None) -> QueueBroker | None:
        """Return the broker that has an id, if it has not been forgotten."""
        broker = self._by_id.get(process)
        return None if broker is None else broker()

    def _find(self, channel: str) -> QueueBroker | None:
        """Return the broker that a channel's name identifies; None if no broker here has made it.

        If that was forgotten, the running loop's own has the channel from now on.
        """
        process = process_of(channel)
        if process not in self._by_id:
            return None
        with self._lock:
            broker = self._broker(process)
            if broker is None:
                broker = self.get()
                self._by_id[process] = weakref.ref(broker)
            return broker

    def _new_id(self, broker: QueueBroker | None) -> str:
        """Return a new id for the names of a broker's channels; hold the lock.

        Its former ones stay valid. Without a broker, the loop that uses one has it from then on.
        """
        if len(self._by_id) >= MAX_IDS:
            self._by_id.pop(next(filter(self._is_former, self._by_id), None), None)
        process = new_process_id()
        self._by_id[process] = None if broker is None else weakref.ref(broker)
        return process

    def _is_former(self, process: str | None) -> bool:
        broker = self._broker(process)
        return broker is None or broker.id != process

    def _channels_ended(self, channels: list[str]) -> None:
        for observer in self.observers:
            observer(channels)


_all: weakref.WeakSet[QueueBrokers] = weakref.WeakSet()


def _mark_all_gone() -> None:
    """Mark this process's layers as gone when the interpreter ends, if they have members.

    Some servers never end their event loop, and synchronous code has none that lasts.
    """
    # Stop at the first failure: a server that is away must not delay the end once for each layer.
    with contextlib.suppress(RedisError, OSError, RuntimeError, asyncio.TimeoutError):
        for brokers in list(_all):
            if brokers.must_mark_gone:
                asyncio.run(brokers.mark_gone())


atexit.register(_mark_all_gone)
