"""Keep sharded subscriptions in a Redis Cluster alive, each at the node that owns its slot."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from redis.exceptions import ClusterDownError, RedisError

from ._shared.transport.cluster import slot_of
from ._shared.transport.reconnecting import Backoff
from .subscriber import Endpoint, Subscriber

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ._shared.config.hosts import Address
    from ._shared.transport.cluster import Cluster
    from ._shared.transport.connection import Connection

    # The address of a node; None while it is unknown.
    Node = Address | None


class ClusterSubscriber:
    """The subscriptions of one event loop in one Cluster: a `Subscriber` for each node with topics.

    A slot stays at its node until that node is lost or gives it away. Then the Cluster is asked
    for its nodes, and the topics of the slot move to the `Subscriber` of the new one. Topics
    without a known node belong to a `Subscriber` that never connects, but asks the Cluster.

    Args:
        cluster: Knows the nodes.
        endpoint: The whole Cluster, and the topics in it.
    """

    def __init__(self, cluster: Cluster, endpoint: Endpoint) -> None:
        self._cluster = cluster
        self._endpoint = endpoint
        self._subscribers: dict[Node, Subscriber] = {}
        # The slot of each topic that was ever asked for, until it has no members.
        self._slots: dict[bytes, int] = {}
        # The node of each slot that has had topics.
        self._nodes: dict[int, Node] = {}
        self._backoff = Backoff()
        self._searched_at = float("-inf")

    async def wait_subscribed(self, topic: bytes, deadline: float | None) -> bool:
        """Subscribe to a topic and wait for its node's confirmation; as that of `Subscriber`."""
        return await self._subscriber(self._node_of(topic)).wait_subscribed(topic, deadline)

    def subscribe(self, topics: Iterable[bytes]) -> None:
        """Subscribe to topics that have members, each at its node."""
        for node, theirs in self._by_node(topics).items():
            self._subscriber(node).subscribe(theirs)

    def reconcile(self, topics: Collection[bytes]) -> None:
        """Mark these topics for reconciliation with their members."""
        for node, theirs in self._by_node(topics).items():
            self._subscriber(node).reconcile(theirs)
        for topic in topics:
            if not self._endpoint.has_members(topic):
                self._slots.pop(topic, None)

    async def stop(self) -> None:
        """Close the connections; waiting calls get an error."""
        await asyncio.gather(*(subscriber.stop() for subscriber in self._subscribers.values()))

    def abandon(self) -> None:
        """Discard the connections: their event loop is already closed."""
        for subscriber in self._subscribers.values():
            subscriber.abandon()

    def _subscriber(self, node: Node) -> Subscriber:
        """Return the subscriber of a node; create it if there is none."""
        subscriber = self._subscribers.get(node)
        if subscriber is None:
            endpoint = replace(
                self._endpoint,
                open=partial(self._open, node),
                topics=partial(self._topics, node),
                has_members=partial(self._has_members, node),
                on_misplaced=partial(self._on_misplaced, node),
            )
            if node is not None:
                endpoint = replace(
                    endpoint, host=self._cluster.node(node).host, node=f"{node[0]}:{node[1]}"
                )
            self._subscribers[node] = subscriber = Subscriber(endpoint)
        return subscriber

    def _node_of(self, topic: bytes) -> Node:
        slot = self._slot(topic)
        if slot not in self._nodes:
            self._nodes[slot] = self._cluster.owner(slot)
        return self._nodes[slot]

    def _slot(self, topic: bytes) -> int:
        slot = self._slots.get(topic)
        if slot is None:
            slot = self._slots[topic] = slot_of(topic.decode())
        return slot

    def _by_node(self, topics: Iterable[bytes]) -> dict[Node, list[bytes]]:
        found: dict[Node, list[bytes]] = {}
        for topic in topics:
            found.setdefault(self._node_of(topic), []).append(topic)
        return found

    def _topics(self, node: Node) -> list[bytes]:
        return [topic for topic in self._endpoint.topics() if self._node_of(topic) == node]

    def _has_members(self, node: Node, topic: bytes) -> bool:
        return self._endpoint.has_members(topic) and self._node_of(topic) == node

    async def _open(self, node: Node) -> Connection | None:
        """Return a connection to a node, or None if all its topics have moved."""
        subscriber = self._subscriber(node)
        if node is None:
            await self._back_off()
        if node is None or subscriber.last_error is not None:
            await self._cluster.learn()
            self._move_topics(node)
            self._forget_old_nodes()
        if not subscriber.has_topics:
            self._searched_at = asyncio.get_running_loop().time()
            return None
        if node is None:
            raise ClusterDownError(f"not all slots of the {self._endpoint.host} have a node")
        return await self._cluster.node(node).open()

    async def _back_off(self) -> None:
        """Wait if topics were moved a moment ago: nodes may take time to agree."""
        if asyncio.get_running_loop().time() - self._searched_at > Backoff.QUIET:
            self._backoff.reset()
        else:
            await asyncio.sleep(self._backoff.next())

    def _move_topics(self, old: Node) -> None:
        """Move the topics of a node to those that own their slots now."""
        topics = self._topics(old)
        for slot, node in self._nodes.items():
            if node == old:
                self._nodes[slot] = self._cluster.owner(slot)
        self.subscribe(topics)
        subscriber = self._subscriber(old)
        subscriber.release(
            [topic for topic in subscriber.awaited_topics() if self._node_of(topic) != old]
        )

    def _on_misplaced(
        self,
        node: Node,
        topic: bytes,
        error: RedisError,
        was_subscribed: bool,  # noqa: FBT001
    ) -> None:
        """Move a topic that the node does not have, or no longer has."""
        slot = self._slot(topic)
        if self._nodes[slot] == node:
            self._nodes[slot] = None
            self._subscriber(None).last_error = error
        self._subscriber(node).release((topic,))
        if not self._endpoint.has_members(topic):
            return
        current = self._subscriber(self._nodes[slot])
        if was_subscribed:
            # What a node gives away until all of it is back is one outage.
            self._endpoint.dispatcher.on_lost(self._subscriber(node), (topic,))
            if self._nodes[slot] is None:
                self._endpoint.outages.lost(current, error)
        current.subscribe((topic,))
        if current.is_subscribed(topic):
            # Another topic of the slot has shown before that it had moved.
            self._endpoint.dispatcher.on_subscribed(topic)

    def _forget_old_nodes(self) -> None:
        owners = self._cluster.owners()
        for node, subscriber in list(self._subscribers.items()):
            if node is not None and node not in owners and not subscriber.is_running:
                del self._subscribers[node]
