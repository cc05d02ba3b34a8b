"""Connect the parts that a layer has in one process."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from . import maintenance
from ._shared.blocking.callers import SynchronousCallers
from ._shared.concurrency import LoopLocal, timeout
from ._shared.delivery.consumers import ConsumerTracker
from ._shared.delivery.mailboxes import Mailboxes
from ._shared.history.backlog import Backlog
from ._shared.history.follower import Followers
from ._shared.history.outlet import GroupOutlet
from ._shared.history.results import Joined
from ._shared.history.store import Question
from ._shared.ops.logs import OverflowLog
from ._shared.transport.cluster_pipeline import shards_to
from .groups import Groups
from .keys import group_of, is_in_this_layer, new_process_id, process_of, virtual_of
from .liveness import Liveness
from .loop_state import LEAVE_TIMEOUT, LoopState
from .protocol.local_groups import LocalGroups
from .publisher import Publisher
from .receiver_pool import ReceiverPool

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

    from ._shared.history.positions import Replay
    from ._shared.transport.commands import Shards
    from .config import QueueSettings

logger = logging.getLogger(__package__)


class QueueBroker:
    """One layer in one process: its identity, its members, its mailboxes, its event loops."""

    def __init__(self, settings: QueueSettings) -> None:
        self.settings = settings
        self.counters = settings.counters
        # One for each layer and process: otherwise two aliases of one layer, or the children of
        # one preloaded parent, would take each other's messages.
        self.id = new_process_id()
        self.pid = os.getpid()
        _brokers.add(self)
        self.loops = LoopLocal(self._make_loop_state)
        self._synchronous = SynchronousCallers(
            settings.connectors, settings.scripts, settings.counters
        )
        self.local_groups = LocalGroups(settings.group_expiry)
        self.overflows = OverflowLog(logger)
        self.mailboxes = Mailboxes(
            settings.mailbox_bytes,
            self._overflowed,
            on_overflow=settings.on_overflow,
            counters=settings.counters,
        )
        self.consumers = ConsumerTracker(
            self.mailboxes, settings.channel_expiry, self._end_channels
        )
        self._liveness = Liveness(settings, self.local_groups)
        self.groups = Groups(settings, self.local_groups, self._liveness)
        self.publisher = Publisher(settings, self.groups)
        # By virtual channel.
        self._followers: Followers[str] = Followers(
            self._read_history,
            self._outlet,
            self._spawn,
            Backlog(self.mailboxes, threading.RLock()),
            settings,
        )
        self.receiver_pool = ReceiverPool(
            settings,
            self.mailboxes,
            self.local_groups,
            self._followers,
            self.loops,
            self._groups_empty,
        )
        self.outages = self.receiver_pool.outages

    @property
    def shards(self) -> Shards:
        """The command connections for calls of the running event loop."""
        loop_state = self.loops.find()
        shards = self._synchronous.shards() if loop_state is None else loop_state.shards
        return shards or self.loops.get().shards

    async def join(self, group: str, channel: str) -> None:
        """Make a channel a member of a group.

        Raises:
            redis.exceptions.RedisError: As `CommandClient.execute`.
        """
        if process_of(channel) == self.id:
            await self.groups.add_local(group, channel, self.shards)
        else:
            await self.groups.add_name(group, channel, self.shards)

    async def leave(self, group: str, channel: str) -> None:
        """End a channel's membership of a group, after what was sent to the group before.

        Raises:
            redis.exceptions.RedisError: As `CommandClient.execute`.
        """
        at, after = await self.groups.discard(group, channel, self.shards)
        if process_of(channel) == self.id:
            self.local_groups.begin_leave(virtual_of(channel, group), channel, at, after)
        elif is_in_this_layer(channel):
            await self.publisher.send_leave(group, channel, at, self.shards)

    async def follow(self, group: str, channel: str, since: str | None, rewind: int) -> Joined:
        """Make a channel a member of a group that keeps a history.

        Args:
            group: The group.
            channel: The channel; one of this process, if it wants anything from the history.
            since: The position from which on the channel wants messages.
            rewind: The number of latest messages that it wants otherwise.

        Raises:
            redis.exceptions.RedisError: As `CommandClient.execute`.
        """
        virtual = virtual_of(channel, group)
        followers = self._followers
        if process_of(channel) != self.id:
            await self.join(group, channel)
            replay = await self._read_history(virtual, Question(None))
            return Joined(replay.position, recovered=True)
        is_member = channel in self.local_groups.members(virtual)
        follower = followers.find(virtual)
        is_current = is_member and follower is not None and not follower.is_behind(channel)
        if is_current and since is None and not rewind:
            await self.join(group, channel)
            return Joined(followers.position(virtual), recovered=True)
        join = followers.begin_join(virtual, channel, None if is_member else "")
        try:
            return await self.groups.add_local(
                group, channel, self.shards, partial(join.follower.join, join, since, rewind)
            )
        except GeneratorExit:
            join.follower.drop_join(join)
            raise
        except BaseException:
            join.follower.cancel_join(join)
            self._forget_unused([virtual])
            raise

    async def receive(self, channel: str) -> dict[str, Any]:
        """Return the next message of a channel.

        A cancelled call loses nothing: the message is taken from the mailbox in the last step.

        Raises:
            redis.exceptions.RedisError: The settings do not fit the server: a wrong password, a
                missing right. A server that is away is waited for.
        """
        receivers = self.receiver_pool
        if "!" not in channel:
            return await receivers.receive_general(channel)
        find = self.mailboxes.find
        box = find(channel) or self.mailboxes.open(channel)
        if box.tracks_task:
            self.consumers.track_task(channel, box)
        item = box.take()
        while item is None:
            waiter = box.add_waiter()
            try:
                # A mailbox that was removed before we queued up gets nothing any more.
                if find(channel) is box:
                    if receivers.ensure(channel):
                        await receivers.watch(channel, waiter)
                    await waiter
                else:
                    # It may be opened again.
                    box.remove_waiter(waiter)
            except BaseException:
                box.remove_waiter(waiter)
                raise
            box = find(channel) or self.mailboxes.open(channel)
            if box.tracks_task:
                self.consumers.track_task(channel, box)
            item = box.take()
            if item is None:
                receivers.raise_failure(channel)
        counters = self.counters
        box.last_receipt = counters.received = counters.received + 1
        return item.copy()

    def count_groups(self) -> int:
        """Return the number of groups that have members in this process."""
        return len({group_of(virtual) for virtual in self.local_groups.virtuals()})

    async def close_connections(self) -> None:
        """Close what is open in the running event loop, and for synchronous callers."""
        try:
            await self.loops.close()
        finally:
            await self._synchronous.close()

    async def flush(self) -> None:
        """Drop all messages and members, here and in Redis."""
        self.receiver_pool.clear()
        self.local_groups.clear()
        self._followers.clear()
        await maintenance.flush(self.shards, self.settings.keys)

    async def mark_gone(self) -> None:
        """Tell those that send to the groups of this process that it has gone."""
        # Before the timer, beside which a loop would get connections of its own.
        shards = self.shards
        async with timeout(LEAVE_TIMEOUT):
            await self._liveness.mark_gone(shards)

    def _make_loop_state(self) -> LoopState:
        shards = shards_to(self.settings.connectors, self.settings.scripts, self.counters)
        return LoopState(shards, self._start_maintenance, self._leave)

    def _start_maintenance(self, loop_state: LoopState) -> None:
        settings, shards, local_groups = self.settings, loop_state.shards, self.local_groups
        detectors = [
            maintenance.LossDetector(
                shard, shards, settings.keys, self.id, local_groups, self.groups, self._repair
            )
            for shard in range(len(shards))
        ]
        for detector in detectors:
            loop_state.spawn(detector.watch())
        loop_state.spawn(maintenance.sweep(self.consumers, local_groups, self._groups_empty))
        loop_state.spawn(
            maintenance.renew_memberships(
                settings.group_expiry, self.consumers, local_groups, self.groups, shards
            )
        )
        loop_state.spawn(maintenance.publish_removed_members(self.groups, shards))

        def restore_all() -> None:
            for detector in detectors:
                detector.restore_all()

        for shard in range(len(shards)):
            loop_state.spawn(self._liveness.beat(shard, shards, restore_all))

    def _overflowed(self, channel: str, count: int) -> None:
        # A channel that has lost its consumer misses nothing.
        if self.consumers.has_consumer(channel):
            self.overflows.dropped(channel, count)

    def _end_channels(self, channels: Sequence[str]) -> None:
        virtuals: dict[str, None] = {}
        for channel in channels:
            self.mailboxes.discard(channel)
            self._followers.backlog.forget(channel)
            self.overflows.forget(channel)
            virtuals.update(dict.fromkeys(self.local_groups.remove_channel(channel)))
        self._groups_empty(
            [virtual for virtual in virtuals if not self.local_groups.members(virtual)]
        )

    async def _leave(self, shards: Shards) -> None:
        """Tell Redis which members have gone as an event loop ends."""
        await self.groups.remove_empty(self.local_groups.empty(), shards)
        await self.groups.publish_removed_members(shards)

    def _outlet(self, virtual: str) -> GroupOutlet:
        members = partial(self.local_groups.members, virtual)
        return GroupOutlet(group_of(virtual), members, self._followers.backlog, self.settings)

    async def _read_history(self, virtual: str, question: Question) -> Replay:
        group = group_of(virtual)
        return await self.settings.store.read(group, question, self.shards.of(group))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> object:
        # As in `_groups_empty`: None in a loop that ends, or of a synchronous caller.
        loop_state = self.loops.find()
        return None if loop_state is None else loop_state.spawn(coroutine)

    def _repair(self, virtuals: Iterable[str]) -> None:
        """Read the histories of groups whose server has lost data."""
        for virtual in virtuals:
            follower = self._followers.find(virtual)
            if follower is not None:
                follower.fall_behind()

    def _forget_unused(self, virtuals: Iterable[str]) -> None:
        if self._followers:
            for virtual in virtuals:
                if not self.local_groups.members(virtual):
                    self._followers.forget(virtual)

    def _groups_empty(self, virtuals: Sequence[str]) -> None:
        self._forget_unused(virtuals)
        # A loop state made as its loop ends would open connections that nothing closes. One that is
        # closing is not found: it removes empty groups once its receivers have read to the end. In
        # a loop without one, this is left to the sweep of another.
        loop_state = self.loops.find()
        if virtuals and loop_state is not None:
            loop_state.spawn(self.groups.remove_empty(virtuals, loop_state.shards))


_brokers: weakref.WeakSet[QueueBroker] = weakref.WeakSet()


def _mark_all_gone() -> None:
    """Mark this process's layers as gone when the interpreter ends, if they have members.

    Some servers never end their event loop, and synchronous code has none that lasts.
    """
    # Stop at the first failure: a server that is away must not delay the end once for each layer.
    with contextlib.suppress(RedisError, OSError, RuntimeError, asyncio.TimeoutError):
        for broker in list(_brokers):
            # Not those inherited through a fork.
            if broker.pid == os.getpid() and len(broker.local_groups):
                asyncio.run(broker.mark_gone())


atexit.register(_mark_all_gone)
