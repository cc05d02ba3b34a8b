"""Hears what a Redis Cluster publishes with sharded Pub/Sub, at each topic's own node."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from redis.exceptions import ClusterDownError, RedisError

from ._shared.transport.cluster import slot_of
from ._shared.transport.reconnecting import Backoff
from .subscriber import Line, Subscriber

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._shared.transport.cluster import Address, Cluster
    from ._shared.transport.connection import Connection

    # A node; None stands for that which has yet to be found.
    Place = Address | None

# Seconds without a search for nodes, after which the next one begins at once.
QUIET = 3.0


class ClusterSubscriber:
    """The subscriptions of one event loop in one Cluster: a `Subscriber` for each node with topics.

    A slot stays at its node until that node is lost or gives it away. Then the Cluster is asked
    again, and the topics of the slot move to the `Subscriber` of the new node. Topics whose node is
    not known belong to a `Subscriber` of their own, which never connects, but asks.

    Args:
        cluster: Knows the nodes.
        line: The whole Cluster, and what it is asked to send.
    """

    def __init__(self, cluster: Cluster, line: Line) -> None:
        self._cluster = cluster
        self._line = line
        self._subscribers: dict[Place, Subscriber] = {}
        # The node of each slot that has had topics.
        self._places: dict[int, Place] = {}
        self._backoff = Backoff()
        self._searched_at = float("-inf")

    async def live(self, topic: bytes, *, patient: bool) -> None:
        """Return when a topic's node has confirmed that it is heard; see `Subscriber.live`."""
        now, seconds = asyncio.get_running_loop().time(), self._line.host.timeout
        deadline = None if patient else now + seconds
        while not await self._at(self._place(topic)).live_by(topic, deadline):
            pass  # it has moved

    def reconcile(self, topics: Iterable[bytes]) -> None:
        """Note that it may have changed whether these are wanted."""
        for place, theirs in self._by_place(topics).items():
            self._at(place).reconcile(theirs)

    async def stop(self) -> None:
        """Close the connections; waiting calls get an error."""
        await asyncio.gather(*(subscriber.stop() for subscriber in self._subscribers.values()))

    def abandon(self) -> None:
        """Drop the connections: their event loop is closed."""
        for subscriber in self._subscribers.values():
            subscriber.abandon()

    def _at(self, place: Place) -> Subscriber:
        """Return the subscriber for a node, which may be new."""
        subscriber = self._subscribers.get(place)
        if subscriber is None:
            line = replace(
                self._line,
                open=partial(self._open, place),
                topics=partial(self._topics, place),
                is_heard=partial(self._is_heard, place),
                misplaced=partial(self._misplaced, place),
            )
            if place is not None:
                line = replace(
                    line, host=self._cluster.node(place).host, node=f"{place[0]}:{place[1]}"
                )
            self._subscribers[place] = subscriber = Subscriber(line)
        return subscriber

    def _place(self, topic: bytes) -> Place:
        slot = slot_of(topic.decode())
        if slot not in self._places:
            self._places[slot] = self._cluster.owner(slot)
        return self._places[slot]

    def _by_place(self, topics: Iterable[bytes]) -> dict[Place, list[bytes]]:
        found: dict[Place, list[bytes]] = {}
        for topic in topics:
            found.setdefault(self._place(topic), []).append(topic)
        return found

    def _topics(self, place: Place) -> list[bytes]:
        return [topic for topic in self._line.topics() if self._place(topic) == place]

    def _is_heard(self, place: Place, topic: bytes) -> bool:
        return self._line.is_heard(topic) and self._place(topic) == place

    async def _open(self, place: Place) -> Connection | None:
        """Return a connection to a node, or None if all its topics have moved."""
        subscriber = self._at(place)
        if place is None:
            await self._pause()
        if place is None or subscriber.trouble is not None:
            await self._cluster.learn()
            self._move_from(place)
            self._forget_old_nodes()
        if not subscriber.is_needed:
            self._searched_at = asyncio.get_running_loop().time()
            return None
        if place is None:
            raise ClusterDownError(f"not all slots of the {self._line.host} have a node")
        return await self._cluster.node(place).open()

    async def _pause(self) -> None:
        """Wait a while if topics have just been moved: nodes may take time to agree."""
        if asyncio.get_running_loop().time() - self._searched_at > QUIET:
            self._backoff.reset()
        else:
            await asyncio.sleep(self._backoff.next())

    def _move_from(self, old: Place) -> None:
        """Let topics that were at one place be heard where the Cluster now says that they are."""
        topics = self._topics(old)
        for slot, place in self._places.items():
            if place == old:
                self._places[slot] = self._cluster.owner(slot)
        for place, theirs in self._by_place(topics).items():
            if place != old:
                self._at(place).hear(theirs)
        awaited = self._at(old).awaited()
        self._at(old).release([topic for topic in awaited if self._place(topic) != old])

    def _misplaced(self, place: Place, topic: bytes, error: RedisError, was_live: bool) -> None:  # noqa: FBT001
        """Find the node of a topic which that at `place` does not have, or no longer has."""
        slot = slot_of(topic.decode())
        if self._places[slot] == place:
            self._places[slot] = None
            self._at(None).trouble = error
        self._at(place).release((topic,))
        if not self._line.is_heard(topic):
            return
        current = self._at(self._places[slot])
        if was_live:
            # All topics of the slot are one outage.
            self._line.delivery.lost(slot, (topic,))
            if self._places[slot] is None:
                self._line.outages.lost(current, error)
        current.hear((topic,))
        if current.is_live(topic):
            # Another topic of the slot was faster to tell that it had moved.
            self._line.delivery.heard(topic)

    def _forget_old_nodes(self) -> None:
        owners = self._cluster.owners()
        for place, subscriber in list(self._subscribers.items()):
            if place is not None and place not in owners and not subscriber.is_running:
                del self._subscribers[place]
