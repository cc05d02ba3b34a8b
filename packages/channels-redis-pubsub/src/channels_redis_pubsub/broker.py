"""The channels of an event loop, with their mailboxes and memberships, also after its end."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from ._shared.concurrency import BackgroundTasks
from ._shared.delivery.consumers import SWEEP_INTERVAL, ConsumerTracker
from ._shared.delivery.mailboxes import Mailboxes
from ._shared.history.follower import Followers
from ._shared.transport.cluster_pipeline import shards_to
from ._shared.transport.connector import look_regularly
from .protocol.hub import Hub, TopicDispatcher
from .subscribers import Subscribers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from ._shared.history import Joined
    from ._shared.history.store import Question, Replay
    from ._shared.transport.commands import Shards
    from ._shared.transport.reconnecting import OutageLog
    from .config import PubSubSettings

logger = logging.getLogger(__package__)

# What undoes a call. Not GeneratorExit: the garbage collector closes the coroutines of a loop that
# was closed, perhaps amid another change of the same tables; and `abandon` has undone them.
_FAILURES = (Exception, asyncio.CancelledError)


class PubSubBroker:
    """The channels of an event loop, with their mailboxes and memberships.

    A change of loops is an outage: the channels that have a consumer, or have had none yet, are
    notified of it, subscribed to again, and get what the histories of their groups keep.

    Args:
        settings: The layer's options.
        outages: One log for each host.
        end_channels: Called with this broker and channels whose consumers have ended.
    """

    def __init__(
        self,
        settings: PubSubSettings,
        outages: Sequence[OutageLog],
        end_channels: Callable[[PubSubBroker, list[str]], object],
    ) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        # Those of the event loop, and before the first one nothing.
        self.shards: Shards
        self.tasks: BackgroundTasks
        self._subscribers: Subscribers
        self._is_attached = False
        self._settings = settings
        self._outages = outages
        self._mailboxes = Mailboxes(
            settings.mailbox_bytes,
            self._overflowed,
            capacity=settings.capacity,
            on_overflow=settings.on_overflow,
            counters=settings.counters,
        )
        self.consumers = ConsumerTracker(
            self._mailboxes, settings.channel_expiry, partial(end_channels, self)
        )
        self.hub = Hub()
        self.followers: Followers[bytes] = Followers(
            self._read_history,
            self.hub.members,
            settings.group_of,
            self.spawn,
            self._mailboxes,
            settings,
        )
        self._dispatcher = TopicDispatcher(settings, self.hub, self._mailboxes, self.followers)

    @property
    def is_unused(self) -> bool:
        """True if no channel is open."""
        return not self.hub.channels()

    def is_consumed(self) -> bool:
        """Return whether any channel has a consumer in another task than this one."""
        return any(map(self.consumers.is_consumed, self.hub.channels()))

    def attach(self) -> None:
        """Subscribe in the running event loop to what the channels need."""
        settings = self._settings
        self.tasks = BackgroundTasks(logger)
        self.shards = shards_to(settings.connectors, settings.scripts, settings.counters)
        self._subscribers = Subscribers(settings, self._dispatcher, self._outages)
        self._is_attached = True
        self.spawn(self._sweep())
        # Where messages are sent.
        key = "" if settings.sharded_pubsub else None
        for shard, connector in enumerate(settings.connectors):
            self.spawn(look_regularly(connector, self.shards[shard], key))
        self._subscribers.subscribe(self.hub.topics())

    async def detach(self) -> None:
        """Close all connections, and then the channels whose consumers have ended."""
        await self._subscribers.stop()
        self.followers.stop()
        await self.tasks.end()
        await self.shards.close()
        self._end_attachment()

    def abandon(self) -> None:
        """Discard all connections: their event loop is already closed."""
        self._subscribers.abandon()
        self.hub.cancel_joins()
        self._mailboxes.wake_all()
        self.followers.stop()
        self._end_attachment()

    async def open(self, channel: str, *, no_timeout: bool = False) -> None:
        """Subscribe to a channel, and wait for the confirmation.

        Args:
            channel: The channel.
            no_timeout: Wait for as long as the server is away.

        Raises:
            redis.exceptions.RedisError: As `Subscribers.wait_subscribed`. The channel is closed
                then.
        """
        self.hub.open(channel)
        try:
            await self._subscribers.wait_subscribed(channel.encode(), no_timeout=no_timeout)
        except _FAILURES as error:
            # A poll with a timeout cancels this; the next one finds the channel open.
            if not (no_timeout and isinstance(error, asyncio.CancelledError)):
                self.close(channel)
            raise

    def close(self, channel: str) -> None:
        """Drop a channel, its messages and memberships, and the subscriptions it alone needs."""
        self._forget_unused(self.hub.close(channel))
        self._dispatcher.notify_restored((channel,))
        self._mailboxes.discard(channel)

    async def receive(self, channel: str) -> dict[str, Any]:
        """Return the next message of a channel; open it first if needed.

        Raises:
            redis.exceptions.RedisError: The server refuses the subscription, or the connection.
        """
        find = self._mailboxes.find
        while True:
            mailbox = find(channel) or self._mailboxes.open(channel)
            if mailbox.tracks_task:
                self.consumers.track_task(channel, mailbox)
            item = mailbox.take()
            if item is not None:
                break
            if channel not in self.hub:
                await self.open(channel, no_timeout=True)
                continue  # its mailbox may have gone meanwhile
            waiter = mailbox.add_waiter()
            try:
                await waiter
            except BaseException:
                mailbox.remove_waiter(waiter)
                raise
        counters = self._settings.counters
        mailbox.last_receipt = counters.received = counters.received + 1
        return item.copy()

    async def join(
        self, topic: bytes, channel: str, since: str | None, rewind: int, *, keeps_history: bool
    ) -> Joined | None:
        """Make an open channel a member of a group, and wait for the confirmation.

        Args:
            topic: The topic of the group.
            channel: The channel.
            since: The position from which on the channel wants messages.
            rewind: The number of latest messages that it wants otherwise.
            keeps_history: True if the group keeps a history.

        Returns:
            The place of the channel in the history, if there is one.

        Raises:
            redis.exceptions.RedisError: As `Subscribers.wait_subscribed`, or as
                `CommandClient.execute`. The channel has not joined then.
        """
        hub, followers, joining = self.hub, self.followers, None
        joined = followers.place_of(topic, channel)
        token = hub.begin_join(topic, channel)
        if keeps_history and joined is None:
            joining = followers.begin_join(topic, channel)
        try:
            await self._subscribers.wait_subscribed(topic)
            if joining is not None:
                joined = await joining.follower.join(joining, since, rewind)
        except _FAILURES:
            # An earlier membership stays.
            hub.cancel_join(topic, channel, token)
            if joining is not None:
                joining.follower.cancel_join(joining)
            # A group is not forgotten while a channel joins it.
            self._forget_unused((topic,))
            self._dispatcher.notify_restored((channel,))
            raise
        hub.confirm_join(topic, channel, token)
        # The channel may have left meanwhile, when the group could not be forgotten.
        self._forget_unused((topic,))
        return joined

    def leave(self, topic: bytes, channel: str) -> None:
        """End a channel's membership in a topic."""
        self.hub.leave(topic, channel)
        self._forget_unused((topic,))
        self._dispatcher.notify_restored((channel,))

    def flush(self) -> None:
        """Drop all unread messages, and end all memberships in groups."""
        self._forget_unused(self.hub.leave_groups())
        self._mailboxes.clear()
        self._dispatcher.notify_restored(self.hub.channels())

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run a coroutine until the connections close; return None if they are."""
        return self.tasks.spawn(coroutine) if self._is_attached else None

    def _end_attachment(self) -> None:
        self._is_attached = False
        for channel in self.hub.channels():
            if not self.consumers.has_consumer(channel):
                self.close(channel)
        self._dispatcher.on_lost(self.hub.topics())

    def _forget_unused(self, topics: Iterable[bytes]) -> None:
        """Forget those of the topics that have no members."""
        unused = [topic for topic in topics if not self.hub.members(topic)]
        self._dispatcher.forget(unused)
        if self._is_attached:
            self._subscribers.unsubscribe(unused)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            self.consumers.sweep()

    def _overflowed(self, channel: str, count: int) -> None:
        # A channel without a consumer misses nothing.
        if self.consumers.has_consumer(channel):
            self._settings.report_overflow(channel, count)

    async def _read_history(self, topic: bytes, question: Question) -> Replay:
        tag = topic.decode()
        return await self._settings.store.read(tag, question, self.shards.of(tag))
