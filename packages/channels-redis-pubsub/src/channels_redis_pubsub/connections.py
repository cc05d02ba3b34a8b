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

    from ._shared.transport.reconnecting import OutageLog
    from .config import PubSubSettings
    from .protocol.hub import TopicDispatcher

logger = logging.getLogger(__package__)


class LoopConnections:
    """The connections and tasks of a broker in the running event loop.

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
        self.tasks = BackgroundTasks(logger)
        self.shards = shards_to(settings.connectors, settings.scripts, settings.counters)
        self.subscribers = Subscribers(settings, dispatcher, outages)
        # Where messages are sent.
        key = "" if settings.sharded_pubsub else None
        for shard, connector in enumerate(settings.connectors):
            self.tasks.spawn(look_regularly(connector, self.shards[shard], key))

    async def close(self) -> None:
        """End the tasks, and close the connections for commands."""
        await self.tasks.end()
        await self.shards.close()
