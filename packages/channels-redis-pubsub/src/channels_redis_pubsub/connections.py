"""The connections and tasks of a broker in the event loop that it is attached to."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from ._shared.concurrency import BackgroundTasks
from ._shared.transport.cluster import Cluster
from ._shared.transport.cluster_pipeline import shards_to
from ._shared.transport.commands import shard_of
from ._shared.transport.connector import look_regularly
from .cluster_subscriber import ClusterSubscriber
from .subscriber import Endpoint, Subscriber

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._shared.transport.commands import Shards
    from ._shared.transport.reconnecting import OutageLog
    from .config import PubSubSettings
    from .protocol.hub import Hub, TopicDispatcher

logger = logging.getLogger(__package__)


class LoopConnections:
    """The connections and tasks of a broker in the running event loop.

    Args:
        settings: The layer's options.
        hub: The members of topics.
        dispatcher: Gets what is published.
        outages: One log for each host.
    """

    def __init__(
        self,
        settings: PubSubSettings,
        hub: Hub,
        dispatcher: TopicDispatcher,
        outages: Sequence[OutageLog],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.tasks = BackgroundTasks(logger)
        # With plain Pub/Sub, each node of a Cluster passes messages on to all others.
        self.shards = shards_to(
            settings.connectors, settings.scripts, settings.counters, by_key=settings.sharded_pubsub
        )
        self._key_shards = None if settings.publishes_anywhere else self.shards
        self._settings = settings
        self._hub = hub
        self._subscribers = [
            self._subscriber(shard, dispatcher, outages[shard])
            for shard in range(len(settings.connectors))
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

    async def wait_subscribed(self, topic: bytes, *, no_timeout: bool = False) -> None:
        """Subscribe to a topic, and wait for the confirmation.

        Args:
            topic: The topic.
            no_timeout: Wait for as long as the server is away.

        Raises:
            redis.exceptions.RedisError: As `Subscriber.wait_subscribed`.
        """
        shard = self._shard(topic)
        timeout = self._settings.connectors[shard].host.timeout
        deadline = None if no_timeout else self.loop.time() + timeout
        while not await self._subscribers[shard].wait_subscribed(topic, deadline):
            pass  # it has moved to another node of the Cluster

    def subscribe_all(self) -> None:
        """Subscribe to all topics that have members."""
        for shard, subscriber in enumerate(self._subscribers):
            topics = self._topics(shard)
            if topics:
                subscriber.subscribe(topics)

    def reconcile(self, topics: Iterable[bytes]) -> None:
        """Mark these topics for reconciliation with their members."""
        for topic in topics:
            self._subscribers[self._shard(topic)].reconcile((topic,))

    async def unsubscribe(self) -> None:
        """Close the connections with subscriptions."""
        await asyncio.gather(*(subscriber.stop() for subscriber in self._subscribers))

    async def close(self) -> None:
        """End the tasks, and close the other connections."""
        await self.tasks.end()
        await self.shards.close()
        if self._key_shards is not None:
            await self._key_shards.close()

    def abandon(self) -> None:
        """Forget outages: the event loop is already closed."""
        for subscriber in self._subscribers:
            subscriber.abandon()

    def _subscriber(
        self, shard: int, dispatcher: TopicDispatcher, outages: OutageLog
    ) -> Subscriber | ClusterSubscriber:
        connector, sharded = self._settings.connectors[shard], self._settings.sharded_pubsub
        is_cluster = isinstance(connector, Cluster)
        endpoint = Endpoint(
            connector.host,
            connector.open,
            sharded,
            outages,
            dispatcher,
            partial(self._topics, shard),
            self._hub.has_members,
            over_bus=is_cluster and not sharded,
        )
        if isinstance(connector, Cluster) and sharded:
            return ClusterSubscriber(connector, endpoint)
        return Subscriber(endpoint)

    def _topics(self, shard: int) -> list[bytes]:
        topics = self._hub.topics()
        if len(self._subscribers) == 1:
            return topics
        return [topic for topic in topics if self._shard(topic) == shard]

    def _shard(self, topic: bytes) -> int:
        return shard_of(topic.decode(), len(self._settings.connectors))
