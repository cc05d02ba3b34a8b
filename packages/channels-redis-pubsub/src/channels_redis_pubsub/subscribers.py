"""Keep the subscriptions of an event loop alive, each at the server that its topic belongs to."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from redis.exceptions import ClusterDownError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from ._shared.transport.cluster import Cluster, slot_of
from ._shared.transport.commands import copy_of, settle, shard_of
from .subscriber import Endpoint, Subscriber

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._shared.config.hosts import Address
    from ._shared.transport.connection import Connection
    from ._shared.transport.reconnecting import OutageLog
    from .config import PubSubSettings
    from .protocol.hub import TopicDispatcher

    # The index of a host, and the address of a node of its Cluster, if it is one whose nodes have
    # topics of their own: None while the owner of a slot is unknown.
    Server = tuple[int, Address | None]


class Subscribers:
    """The subscriptions of one event loop: a `Subscriber` for each server that has topics.

    With sharded Pub/Sub in a Cluster, a topic stays at its node until that is lost or gives the
    topic away. Then the Cluster is asked for its nodes. Until it has answered, the topic belongs to
    a `Subscriber` without a node, which never connects.

    Args:
        settings: The layer's options.
        dispatcher: Gets what is published.
        outages: One log for each host.
    """

    def __init__(
        self,
        settings: PubSubSettings,
        dispatcher: TopicDispatcher,
        outages: Sequence[OutageLog],
    ) -> None:
        self._connectors = settings.connectors
        self._sharded = settings.sharded_pubsub
        self._dispatcher = dispatcher
        self._outages = outages
        self._loop = asyncio.get_running_loop()
        self._subscribers: dict[Server, Subscriber] = {}
        # Of the calls that wait until a topic is subscribed to, in order.
        self._waits: dict[bytes, dict[asyncio.Future[None], None]] = {}

    async def wait_subscribed(self, topic: bytes, *, no_timeout: bool = False) -> None:
        """Subscribe to a topic that has members, and wait for the server's confirmation.

        Args:
            topic: The topic. The wait ends, too, when its last member leaves.
            no_timeout: Wait for as long as the server is away.

        Raises:
            redis.exceptions.ConnectionError: The server is away for longer than its `timeout`.
            redis.exceptions.TimeoutError: It did not answer within that time.
            redis.exceptions.RedisError: It refused the topic, or the connection.
        """
        home = self._home(topic)
        home.add(topic)
        if home.is_subscribed(topic):
            return
        wait: asyncio.Future[None] = self._loop.create_future()
        waits = self._waits.setdefault(topic, {})
        waits[wait] = None
        timer = None
        if not no_timeout:
            timer = self._loop.call_later(home.endpoint.host.timeout, self._time_out, topic, wait)
        try:
            await wait
        finally:
            waits.pop(wait, None)
            if timer is not None:
                timer.cancel()

    def subscribe(self, topics: Iterable[bytes]) -> None:
        """Subscribe to topics that have members, and keep the subscriptions alive."""
        for topic in topics:
            self._home(topic).add(topic)

    def unsubscribe(self, topics: Iterable[bytes]) -> None:
        """End the subscriptions to topics that have no members any more."""
        for topic in topics:
            subscriber = self._find(topic)
            if subscriber is not None:
                subscriber.remove(topic)
                self._end_wait(topic)

    async def stop(self) -> None:
        """Close the connections; waiting calls get an error."""
        await asyncio.gather(*(subscriber.stop() for subscriber in self._subscribers.values()))
        for topic in list(self._waits):
            self._end_wait(topic, RedisConnectionError("The layer was closed"))

    def abandon(self) -> None:
        """Forget outages: the event loop is already closed."""
        for subscriber in self._subscribers.values():
            subscriber.forget_outage()

    def _home(self, topic: bytes) -> Subscriber:
        """Return the subscriber that has a topic; else that of its server, as last learnt."""
        return self._find(topic) or self._new_home(topic)

    def _find(self, topic: bytes) -> Subscriber | None:
        for subscriber in self._subscribers.values():
            if topic in subscriber.topics:
                return subscriber
        return None

    def _new_home(self, topic: bytes) -> Subscriber:
        shard = shard_of(topic.decode(), len(self._connectors))
        connector = self._connectors[shard]
        if isinstance(connector, Cluster) and self._sharded:
            return self._subscriber(shard, connector.owner(slot_of(topic)))
        return self._subscriber(shard)

    def _subscriber(self, shard: int, node: Address | None = None) -> Subscriber:
        """Return the subscriber of a server; create it if there is none."""
        subscriber = self._subscribers.get((shard, node))
        if subscriber is None:
            # Nodes come and go.
            in_use = {key: one for key, one in self._subscribers.items() if one.is_running}
            subscriber = Subscriber(
                self._endpoint(shard, node),
                self._dispatcher,
                self._end_wait,
                partial(self._on_misplaced, shard),
            )
            self._subscribers = {**in_use, (shard, node): subscriber}
        return subscriber

    def _endpoint(self, shard: int, node: Address | None) -> Endpoint:
        connector = self._connectors[shard]
        over_bus = isinstance(connector, Cluster) and not self._sharded
        name = None
        if node is not None and isinstance(connector, Cluster):
            connector, name = connector.node(node), f"{node[0]}:{node[1]}"
        open_ = partial(self._open, shard, node)
        return Endpoint(connector.host, open_, self._outages[shard], self._sharded, over_bus, name)

    async def _open(
        self, shard: int, node: Address | None, subscriber: Subscriber
    ) -> Connection | None:
        """Return a connection to a server, or None if all topics of its subscriber have moved."""
        connector = self._connectors[shard]
        if isinstance(connector, Cluster) and self._sharded:
            if node is None or subscriber.last_error is not None:
                await connector.learn()
                self._move_topics(subscriber)
            if not subscriber.topics:
                return None
            if node is None:
                raise ClusterDownError(f"not all slots of the {connector.host} have a node")
            connector = connector.node(node)
        return await connector.open()

    def _move_topics(self, subscriber: Subscriber) -> None:
        """Move the topics of a subscriber to those of the nodes that own their slots now."""
        for topic in list(subscriber.topics):
            home = self._new_home(topic)
            if home is not subscriber:
                subscriber.remove(topic)
                home.add(topic)

    def _on_misplaced(
        self,
        shard: int,
        subscriber: Subscriber,
        topic: bytes,
        error: RedisError,
        was_subscribed: bool,  # noqa: FBT001
    ) -> None:
        """Look for the node of a topic that this one does not have, or no longer has."""
        if topic not in subscriber.topics:
            return
        subscriber.remove(topic)
        searching = self._subscriber(shard)
        searching.last_error = error
        if was_subscribed:
            self._dispatcher.on_lost((topic,))
            self._outages[shard].lost(searching, error)
        searching.add(topic)

    def _end_wait(self, topic: bytes, error: Exception | None = None) -> bool:
        """Let the calls return that wait for a topic, or raise an error; False without any."""
        waits = self._waits.pop(topic, {})
        for wait in waits:
            settle(wait, error and copy_of(error))
        return bool(waits)

    def _time_out(self, topic: bytes, wait: asyncio.Future[None]) -> None:
        settle(wait, self._home(topic).not_in_time())
