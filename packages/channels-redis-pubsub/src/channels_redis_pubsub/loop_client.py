"""What a layer has in one event loop: its channels there, and its connections."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

from ._shared.transport.cluster import Cluster
from ._shared.transport.shards import Shards, shard_of
from .cluster_subscriber import ClusterSubscriber
from .protocol.dispatch import TopicDispatcher
from .protocol.hub import Hub
from .subscriber import Line, Subscriber

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ._shared.delivery.mailboxes import Mailboxes
    from ._shared.transport.connector import Connector
    from ._shared.transport.reconnecting import OutageLog
    from .config import PubSubSettings

# Seconds between two checks that another event loop still runs.
PROBE_INTERVAL = 1.0
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
        ended: Called with this home when nothing will be heard here any more.
    """

    def __init__(
        self,
        settings: PubSubSettings,
        mailboxes: Mailboxes,
        outages: Sequence[OutageLog],
        ended: Callable[[LoopClient], object],
    ) -> None:
        self.hub = Hub()
        # With plain Pub/Sub, each node of a Cluster passes on what any other one is told.
        self.shards = Shards.to(
            settings.connectors, counters=settings.counters, by_key=settings.sharded_pubsub
        )
        self.loop = asyncio.get_running_loop()
        self._on_end = ended
        self._closed = False
        self._subscribers = [
            _subscriber_to(
                connector,
                Line(
                    connector.host,
                    connector.open,
                    settings.sharded_pubsub,
                    outages[shard],
                    TopicDispatcher(settings, self.hub, mailboxes),
                    partial(self._topics, shard),
                    self.hub.is_heard,
                ),
            )
            for shard, connector in enumerate(settings.connectors)
        ]

    @property
    def ended(self) -> bool:
        """Whether nothing will be heard here any more."""
        return self._closed or self.loop.is_closed()

    async def live(self, topic: bytes, *, patient: bool = False) -> None:
        """Return when the server has confirmed that a topic is heard; any loop may wait for it.

        Args:
            topic: The topic.
            patient: Whether to wait for as long as the server is away.

        Raises:
            redis.exceptions.RedisError: As `Subscriber.live`.
            RuntimeError: The channels' event loop does not run.
        """
        if asyncio.get_running_loop() is self.loop:
            await self._subscriber(topic).live(topic, patient=patient)
        else:
            await self._live_there(topic, patient=patient)

    def reconcile(self, topics: Iterable[bytes]) -> None:
        """Note that it may have changed whether somebody hears these; any thread may call it."""
        by_subscriber: dict[Subscriber | ClusterSubscriber, list[bytes]] = {}
        for topic in topics:
            by_subscriber.setdefault(self._subscriber(topic), []).append(topic)
        here = _running_loop() is self.loop
        for subscriber, theirs in by_subscriber.items():
            if here:
                subscriber.reconcile(theirs)
            else:
                with contextlib.suppress(RuntimeError):  # its loop is closed
                    self.loop.call_soon_threadsafe(subscriber.reconcile, theirs)

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await asyncio.gather(*(subscriber.stop() for subscriber in self._subscribers))
        await self.shards.close()
        self._on_end(self)

    def abandon(self) -> None:
        """Drop all connections: the loop is closed."""
        for subscriber in self._subscribers:
            subscriber.abandon()
        self.shards.abandon()
        self._on_end(self)

    async def _live_there(self, topic: bytes, *, patient: bool) -> None:
        """Wait in another event loop, for as long as this home's own one runs."""
        self._require_running()
        live = self._subscriber(topic).live(topic, patient=patient)
        waiting = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(live, self.loop))
        try:
            while not (await asyncio.wait([waiting], timeout=PROBE_INTERVAL))[0]:
                self._require_running()
        finally:
            waiting.cancel()
        # It is cancelled if its loop ends, which the caller must not take for its own end.
        if waiting.cancelled():
            raise RuntimeError(_STOPPED)
        waiting.result()

    def _require_running(self) -> None:
        if not self.loop.is_running():
            raise RuntimeError(_STOPPED)

    def _topics(self, shard: int) -> list[bytes]:
        mine = self._subscribers[shard]
        return [topic for topic in self.hub.topics() if self._subscriber(topic) is mine]

    def _subscriber(self, topic: bytes) -> Subscriber | ClusterSubscriber:
        return self._subscribers[shard_of(topic.decode(), len(self._subscribers))]


def _subscriber_to(connector: Connector, line: Line) -> Subscriber | ClusterSubscriber:
    if line.sharded and isinstance(connector, Cluster):
        return ClusterSubscriber(connector, line)
    return Subscriber(line)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
