"""The part of a layer that one event loop has at a time: its channels and what serves them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from . import maintenance
from ._shared.concurrency import BackgroundTasks, timeout
from ._shared.delivery.consumers import ConsumerTracker
from ._shared.delivery.mailboxes import Mailboxes
from ._shared.history.follower import Followers
from ._shared.transport.cluster_pipeline import shards_to
from .keys import group_of, virtual_of
from .memberships import Memberships
from .protocol.dispatch import ProcessDispatcher
from .protocol.local_groups import LocalGroups
from .receiver_pool import ReceiverPool

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from ._shared.history import Joined
    from ._shared.history.store import Question, Replay
    from ._shared.transport.commands import Shards
    from ._shared.transport.reconnecting import OutageLog
    from .config import QueueSettings
    from .groups import Groups
    from .liveness import Liveness

logger = logging.getLogger(__package__)

# Seconds that leaving groups may take as a loop ends.
LEAVE_TIMEOUT = 2


class QueueBroker:
    """The part of a layer that one event loop has at a time; see `Brokers`.

    Its channels, members and messages outlive the loop, its connections, receivers and tasks don't.

    Args:
        settings: The layer's options.
        groups: The groups in Redis.
        liveness: Sends heartbeats.
        outages: One log for each host.
        find_shards: Returns the command connections for calls of the running event loop.
        call: Calls a function in the event loop of a broker, with arguments.
        sweep: Drops what ended consumers leave behind, in this broker and those without a loop.
        new_id: Returns an id for the names of a broker's channels.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it connects
        self,
        settings: QueueSettings,
        groups: Groups,
        liveness: Liveness,
        outages: Sequence[OutageLog],
        find_shards: Callable[[], Shards],
        call: Callable[..., object],
        sweep: Callable[[], object],
        new_id: Callable[[QueueBroker], str],
    ) -> None:
        self._sweep = sweep
        self._new_id = new_id
        self._settings = settings
        self._liveness = liveness
        self._find_shards = find_shards
        # Of each broker, as of each process: otherwise two would take each other's messages.
        self.id = new_id(self)
        self.loop: asyncio.AbstractEventLoop | None = None
        # True if messages may wait in Redis for members from before.
        self._had_members = False
        # False as soon as it is being detached.
        self.is_attached = False
        # The loop's, once there is something to do in the background.
        self.shards: Shards | None = None
        self._tasks = BackgroundTasks(logger)
        self._is_maintained = False
        self.local_groups = LocalGroups(settings.group_expiry)
        self.mailboxes = Mailboxes(
            settings.mailbox_bytes,
            self._overflowed,
            on_overflow=settings.on_overflow,
            counters=settings.counters,
        )
        self.consumers = ConsumerTracker(
            self.mailboxes, settings.channel_expiry, partial(call, self, self._end_channels)
        )
        # By virtual channel.
        self._followers: Followers[str] = Followers(
            self._read_history,
            self.local_groups.members,
            group_of,
            self._spawn,
            self.mailboxes,
            settings,
        )
        self.memberships = Memberships(
            settings.keys, self.local_groups, groups, self._forget_unused
        )
        # True if members may be behind in a history since the last event loop has ended.
        self._may_be_behind = False
        self._receivers = ReceiverPool(
            settings, outages, self.connect, self._dispatcher, self.mailboxes.wake_all
        )

    @property
    def is_unused(self) -> bool:
        """True if it has neither a member, nor a message or a claim that was not settled."""
        return (
            self.local_groups.is_settled
            and self._receivers.is_settled
            and all(box.is_unused for _, box in self.mailboxes.items())
        )

    def knows(self, channel: str) -> bool:
        """Return whether a channel has been received on recently."""
        return self.mailboxes.find(channel) is not None or channel in self._receivers

    def attach(self) -> None:
        """Belong to the running event loop. Connections are opened when they are needed."""
        self.is_attached = True
        if self._had_members:
            # A new member of a group would get what has waited for those before.
            self.id, self._had_members = self._new_id(self), False

    async def detach(self) -> None:
        """Close what belongs to the running event loop. Undelivered messages return to Redis."""
        self._stop()
        await asyncio.gather(self._tasks.end(), self._receivers.stop())
        if self.shards is not None:
            if self._is_maintained:
                with contextlib.suppress(asyncio.TimeoutError):
                    async with timeout(LEAVE_TIMEOUT):
                        await self.memberships.publish_removed_members(self.shards)
            await self.shards.close()
        self.shards, self._is_maintained = None, False
        # Calls that wait attach it again.
        self.mailboxes.wake_all()
        self._receivers.wake_calls()

    def abandon(self) -> None:
        """Drop what belongs to an event loop that was closed."""
        self._stop()
        self.shards, self._is_maintained = None, False
        self._tasks = BackgroundTasks(logger)
        self._receivers.abandon()
        self.local_groups.cancel_joins()
        self.mailboxes.wake_all()

    def open(self) -> Shards:
        """Return the command connections of the event loop."""
        if self.shards is None:
            settings = self._settings
            self.shards = shards_to(settings.connectors, settings.scripts, settings.counters)
        return self.shards

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine until it returns or the broker is detached."""
        self.open()
        return self._tasks.spawn(coroutine)

    async def join(self, group: str, channel: str) -> None:
        """Make one of the broker's channels a member of a group.

        Raises:
            redis.exceptions.RedisError: As `CommandClient.execute`.
        """
        await self.memberships.add(group, channel, self._find_shards(), _join_is_done)

    async def follow(self, group: str, channel: str, since: str | None, rewind: int) -> Joined:
        """Make one of the broker's channels a member of a group that keeps a history.

        Args:
            group: The group.
            channel: The channel.
            since: The position from which on the channel wants messages.
            rewind: The number of latest messages that it wants otherwise.

        Raises:
            redis.exceptions.RedisError: As `CommandClient.execute`.
        """
        virtual, followers = virtual_of(channel, group), self._followers
        place = followers.place_of(virtual, channel)
        leaves = (virtual, channel) in self.local_groups.leaves
        if place is not None and not (leaves and (since is not None or rewind)):
            await self.join(group, channel)
            return place
        join = followers.begin_join(virtual, channel)
        then = partial(join.follower.join, join, since, rewind)
        try:
            return await self.memberships.add(group, channel, self._find_shards(), then)
        except (Exception, asyncio.CancelledError):
            join.follower.cancel_join(join)
            self._forget_unused(virtual)
            raise

    async def receive(self, channel: str) -> dict[str, Any] | None:
        """Return the next message of a channel; None once the broker was detached.

        A cancelled call loses nothing: the message is taken from the mailbox in the last step.

        Raises:
            redis.exceptions.RedisError: The settings do not fit the server: a wrong password, a
                missing right. A server that is away is waited for.
        """
        bang = channel.find("!") + 1
        receivers, address, has_waited = self._receivers, channel[:bang] or channel, False
        counters = self._settings.counters
        while True:
            if bang:
                box = self.mailboxes.find(channel) or self.mailboxes.open(channel)
                if box.tracks_task:
                    self.consumers.track_task(channel, box)
            else:
                box = receivers.mailbox(channel)
            item: Any = box.take()
            if item is not None:
                # One of a general channel stays claimed until now.
                if bang or item.acknowledge():
                    break
                counters.expired += 1
                continue
            if has_waited:
                receivers.raise_failure(address)
                if not self.is_attached:
                    return None
            waiter = box.add_waiter()
            try:
                receivers.ensure(address)
                await waiter
            except BaseException:
                box.remove_waiter(waiter)
                raise
            has_waited = True
        box.last_receipt = counters.received = counters.received + 1
        message: dict[str, Any] = item.copy()
        return message

    def groups(self) -> set[str]:
        """Return the groups that have members here."""
        return {group_of(virtual) for virtual in self.local_groups.virtuals()}

    def clear(self) -> None:
        """Drop all messages and members."""
        # First, as it lets go what is held back.
        self._followers.clear()
        self.mailboxes.clear()
        self._receivers.clear()
        self.local_groups.clear()

    def _stop(self) -> None:
        self.is_attached = False
        self._followers.stop()
        self._may_be_behind = True
        self._had_members |= len(self.local_groups) > 0

    def connect(self) -> Shards:
        """Return the command connections for a receiver, and resume those of an earlier loop."""
        shards = self.open()
        if not self._is_maintained:
            self._is_maintained = True
            self._start_maintenance(shards)
            self._receivers.resume()
            if self._may_be_behind:
                self._may_be_behind = False
                self._repair(self.local_groups.virtuals())
        return shards

    def _start_maintenance(self, shards: Shards) -> None:
        settings, spawn, local_groups = self._settings, self._tasks.spawn, self.local_groups
        detectors = [
            maintenance.LossDetector(
                shard,
                shards,
                settings.keys,
                local_groups,
                self.memberships,
                self._repair,
            )
            for shard in range(len(shards))
        ]
        for detector in detectors:
            spawn(detector.watch())
        spawn(maintenance.sweep(self._sweep))
        spawn(
            maintenance.renew_memberships(
                settings.group_expiry, self.consumers, local_groups, self.memberships, shards
            )
        )
        spawn(maintenance.publish_removed_members(self.memberships, shards))

        def restore_all() -> None:
            for detector in detectors:
                detector.restore_all()

        for shard in range(len(shards)):
            spawn(self._liveness.beat(local_groups, shard, shards, restore_all))

    def _dispatcher(self, address: str) -> ProcessDispatcher:
        return ProcessDispatcher(
            address,
            self._settings,
            self.mailboxes,
            self.local_groups,
            self._followers,
        )

    def _overflowed(self, channel: str, count: int) -> None:
        # A channel that has lost its consumer misses nothing.
        if self.consumers.has_consumer(channel):
            self._settings.report_overflow(channel, count)

    def _end_channels(self, channels: Sequence[str]) -> None:
        for channel in channels:
            self.mailboxes.discard(channel)
            self.local_groups.remove_channel(channel)

    async def _read_history(self, virtual: str, question: Question) -> Replay:
        group = group_of(virtual)
        return await self._settings.store.read(group, question, self._find_shards().of(group))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> object:
        """Run a coroutine in the background; return None if there is no event loop for it.

        One that is being detached removes empty groups once its receivers have read to the end.
        Without a loop, this is left to the next sweep.
        """
        is_open = self.is_attached and self.shards is not None
        return self._tasks.spawn(coroutine) if is_open else None

    def _repair(self, virtuals: Iterable[str]) -> None:
        """Read the histories of groups whose server has lost data."""
        for virtual in virtuals:
            follower = self._followers.find(virtual)
            if follower is not None:
                follower.fall_behind()

    def _forget_unused(self, virtual: str) -> None:
        if self._followers and not self.local_groups.members(virtual):
            self._followers.forget(virtual)


async def _join_is_done() -> None:
    """Follow no history."""
