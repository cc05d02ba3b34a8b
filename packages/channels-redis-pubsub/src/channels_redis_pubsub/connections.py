"""The connections and tasks of a broker in the event loop that it is attached to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ._shared.concurrency import BackgroundTasks
from ._shared.transport.cluster_pipeline import shards_to
from ._shared.transport.connector import look_regularly
from .subscribers import Subscribers

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        self.tasks = BackgroundTasks(logger)
        # With plain Pub/Sub, each node of a Cluster passes messages on to all others.
        self.shards = shards_to(
            settings.connectors, settings.scripts, settings.counters, by_key=settings.sharded_pubsub
        )
        self._key_shards = None if settings.publishes_anywhere else self.shards
        self._settings = settings
        self.subscribers = Subscribers(settings, hub, dispatcher, outages)
        for shard, connector in enumerate(settings.connectors):
            self.tasks.spawn(look_regularly(connector, self.shards[shard]))

    @property
    def key_shards(self) -> Shards:
        """Connections that choose a Cluster's node by key, unlike those for messages."""
        if self._key_shards is None:
            settings = self._settings
            self._key_shards = shards_to(settings.connectors, settings.scripts, settings.counters)
        return self._key_shards

    async def close(self) -> None:
        """End the tasks, and close the connections for commands."""
        await self.tasks.end()
        await self.shards.close()
        if self._key_shards is not None:
            await self._key_shards.close()
