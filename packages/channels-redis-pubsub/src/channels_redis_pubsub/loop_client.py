"""The channels and connections of a layer in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING

from redis.exceptions import RedisError, ResponseError

from ._shared.concurrency import BackgroundTasks, running_loop
from ._shared.history.backlog import Backlog
from ._shared.history.follower import Followers
from ._shared.history.outlet import GroupOutlet
from ._shared.transport.cluster import Cluster
from ._shared.transport.cluster_pipeline import shards_to
from ._shared.transport.commands import Shards, shard_of
from ._shared.transport.connector import look_regularly
from ._shared.transport.errors import is_transient
from ._shared.transport.reconnecting import Backoff
from .cluster_subscriber import ClusterSubscriber
from .protocol.hub import Hub, TopicDispatcher
from .subscriber import Endpoint, Subscriber

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence
    from typing import Any

    from ._shared.delivery.mailboxes import Mailboxes
    from ._shared.history.follower import Join
    from ._shared.history.positions import Replay
    from ._shared.history.store import Question
    from ._shared.transport.connector import Connector
    from ._shared.transport.reconnecting import OutageLog
    from .config import PubSubSettings

logger = logging.getLogger(__package__)

# Seconds between two checks that another event loop still runs.
LOOP_CHECK_INTERVAL = 1.0
_STOPPED = (
    "the channel was made in another event loop, which does not run: nothing can be "
    "subscribed to there"
)


class LoopClient:
    """The channels and connections of one event loop.

    Args:
        settings: The layer's options.
        mailboxes: The mailboxes of the process.
        outages: One log for each host.
        on_end: Called with this client when it ends.
        shards_by_key: Returns the connections of the running event loop for commands on keys.
    """

    def __init__(
        self,
        settings: PubSubSettings,
        mailboxes: Mailboxes,
        outages: Sequence[OutageLog],
        on_end: Callable[[LoopClient], object],
        shards_by_key: Callable[[], Shards],
    ) -> None:
        self.hub = Hub()
        # With plain Pub/Sub, each node of a Cluster passes messages on to all others.
        self.shards = shards_to(
            settings.connectors,
            settings.scripts,
            settings.counters,
            by_key=settings.sharded_pubsub,
        )
        self._settings = settings
        self._mailboxes = mailboxes
        self._key_shards: Shards | None = None
        self.tasks = BackgroundTasks(logger)
        self.loop = asyncio.get_running_loop()
        # True while expired messages and channels are swept from this loop.
        self.is_sweeping = False
        # Channels from other event loops that were told there of an outage, and not of its end.
        self._told: set[str] = set()
        self._on_end = on_end
        self._shards_by_key = shards_by_key
        self._closed = False
        self.followers: Followers[bytes] = Followers(
            self._read_history,
            self._outlet,
            self._spawn,
            Backlog(mailboxes, lambda one: self.hub.waits_of(one, self.followers), self.hub.lock),
            settings,
        )
        self._dispatchers = [
            TopicDispatcher(settings, self.hub, mailboxes, self.followers)
            for _ in settings.connectors
        ]
        self._subscribers = [
            _subscriber_to(
                connector,
                Endpoint(
                    connector.host,
                    connector.open,
                    settings.sharded_pubsub,
                    outages[shard],
                    self._dispatchers[shard],
                    partial(self._topics, shard),
                    self.hub.has_members,
                    serves=None if settings.sharded_pubsub else connector.serves,
                    over_bus=isinstance(connector, Cluster) and not settings.sharded_pubsub,
                ),
            )
            for shard, connector in enumerate(settings.connectors)
        ]

        for shard, connector in enumerate(settings.connectors):
            self.tasks.spawn(look_regularly(connector, self.shards[shard]))

    @property
    def key_shards(self) -> Shards:
        """Connections that choose a Cluster's node by key, unlike those for messages."""
        if self._key_shards is None:
            settings = self._settings
            self._key_shards = shards_to(settings.connectors, settings.scripts, settings.counters)
        return self._key_shards

    @property
    def ended(self) -> bool:
        """True once the connections or their event loop are closed."""
        return self._closed or self.loop.is_closed()

    async def wait_subscribed(self, topic: bytes, *, no_timeout: bool = False) -> None:
        """Subscribe to a topic and wait for the confirmation, in whichever event loop.

        Args:
            topic: The topic.
            no_timeout: Wait for as long as the server is away.

        Raises:
            redis.exceptions.RedisError: As `Subscriber.wait_subscribed`.
            RuntimeError: The client's event loop does not run.
        """
        if asyncio.get_running_loop() is self.loop:
            await self._subscribe(topic, no_timeout=no_timeout)
            return
        self._require_running()
        waiting = asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(
                self._subscribe(topic, no_timeout=no_timeout), self.loop
            )
        )
        try:
            while not (await asyncio.wait([waiting], timeout=LOOP_CHECK_INTERVAL))[0]:
                self._require_running()
        finally:
            waiting.cancel()
        # The end of its loop cancels it, which must not look like a cancellation of the caller.
        if waiting.cancelled():
            raise RuntimeError(_STOPPED)
        waiting.result()

    def reconcile(self, topics: Iterable[bytes]) -> None:
        """Mark these topics for reconciliation with their members; any thread may call this."""
        by_shard: dict[int, list[bytes]] = {}
        for topic in topics:
            by_shard.setdefault(self._shard(topic), []).append(topic)
        is_here = running_loop() is self.loop
        for shard, theirs in by_shard.items():
            subscriber = self._subscribers[shard]
            if is_here:
                subscriber.reconcile(theirs)
            else:
                with contextlib.suppress(RuntimeError):  # its loop is closed
                    self.loop.call_soon_threadsafe(subscriber.reconcile, theirs)

    def channels(self) -> list[str]:
        """Return the channels that are open here."""
        return self.hub.channels()

    def tell_lost(self, channel: str) -> None:
        """Tell a channel that stays open of an outage, as the client ends; once."""
        if not self.is_told(channel):
            self._told.add(channel)
            self._dispatchers[0].tell_lost((channel,))

    def is_told(self, channel: str) -> bool:
        """Return whether a channel was told of an outage that has not ended."""
        return channel in self._told or any(
            dispatcher.is_told(channel) for dispatcher in self._dispatchers
        )

    def take_over(self, channel: str, old: LoopClient) -> None:
        """Go on with a channel of an event loop that has ended, and with its memberships."""
        is_told = old.is_told(channel)
        # With the lock, no message comes in between, which would be before these positions.
        with old.hub.lock:
            topics = old.hub.topics_of(channel)
            old.hub.close(channel)
            positions = {
                topic: follower.position_of(channel)
                for topic in topics
                if (follower := old.followers.find(topic)) is not None
            }
        joins = {}
        with self.hub.lock:
            self.hub.open(channel, topics)
            for topic, position in positions.items():
                joins[topic] = self.followers.begin_join(topic, channel, position)
        if is_told:
            self._told.add(channel)
        for topic in topics:
            self._subscribers[self._shard(topic)].subscribe((topic,))
        self.tasks.spawn(self._catch_up(channel, joins))

    async def _catch_up(self, channel: str, joins: dict[bytes, Join]) -> None:
        """Deliver to a channel what it missed as it moved; tell it of the end of an outage."""
        await asyncio.gather(*(self._resume(*join) for join in joins.items()))
        if channel in self._told:
            backoff, topics = Backoff(), self.hub.topics_of(channel)
            while topics:
                topic = topics.pop()
                try:
                    await self.wait_subscribed(topic, no_timeout=True)
                except ResponseError:
                    pass  # a refused topic counts as restored
                except RedisError:
                    # Settings that are refused, perhaps for a while: the subscriber retries, too.
                    topics.add(topic)
                    await asyncio.sleep(backoff.next())
            self._told.discard(channel)
            self._dispatchers[0].tell_restored((channel,))

    async def _resume(self, topic: bytes, join: Join) -> None:
        """End the join of a moved channel, however long the server is away."""
        backoff = Backoff()
        while True:
            try:
                await self.wait_subscribed(topic, no_timeout=True)
            except Exception as error:  # noqa: BLE001 - the membership stays in any case
                if is_transient(error):
                    await asyncio.sleep(backoff.next())
                    continue
            break
        await join.follower.resume(join)
        if not self.hub.has_members(topic):
            # The channel has left meanwhile, when the group could not be forgotten.
            self.reconcile((topic,))

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await self.tasks.end()
        await asyncio.gather(*(subscriber.stop() for subscriber in self._subscribers))
        await self.shards.close()
        if self._key_shards is not None:
            await self._key_shards.close()
        self._on_end(self)

    def abandon(self) -> None:
        """Discard all connections: their event loop is already closed."""
        for subscriber in self._subscribers:
            subscriber.abandon()
        self._on_end(self)

    def _outlet(self, topic: bytes) -> GroupOutlet:
        group, members = self._settings.group_of(topic), partial(self.hub.members, topic)
        return GroupOutlet(group, members, self.followers.backlog, self._settings)

    async def _read_history(self, topic: bytes, question: Question) -> Replay:
        tag = topic.decode()
        return await self._settings.store.read(tag, question, self._shards_by_key().of(tag))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> object:
        if running_loop() is self.loop:
            return self.tasks.spawn(coroutine)
        try:
            return self.loop.call_soon_threadsafe(self.tasks.spawn, coroutine)
        except RuntimeError:  # its loop is closed
            return None

    async def _subscribe(self, topic: bytes, *, no_timeout: bool) -> None:
        shard = self._shard(topic)
        timeout = self._settings.connectors[shard].host.timeout
        deadline = None if no_timeout else self.loop.time() + timeout
        while not await self._subscribers[shard].wait_subscribed(topic, deadline):
            pass  # it has moved to another node of the Cluster

    def _require_running(self) -> None:
        if not self.loop.is_running():
            raise RuntimeError(_STOPPED)

    def _topics(self, shard: int) -> list[bytes]:
        topics = self.hub.topics()
        if len(self._subscribers) == 1:
            return topics
        return [topic for topic in topics if self._shard(topic) == shard]

    def _shard(self, topic: bytes) -> int:
        return shard_of(topic.decode(), len(self._subscribers))


def _subscriber_to(connector: Connector, endpoint: Endpoint) -> Subscriber | ClusterSubscriber:
    if endpoint.sharded and isinstance(connector, Cluster):
        return ClusterSubscriber(connector, endpoint)
    return Subscriber(endpoint)
