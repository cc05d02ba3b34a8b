"""A layer in one process: a broker for each event loop, and what they share."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ._shared.background import BackgroundShards
from ._shared.brokers import Brokers
from ._shared.transport.reconnecting import OutageLog
from .broker import PubSubBroker
from .protocol.names import new_process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._shared.transport.commands import Shards
    from .config import PubSubSettings

logger = logging.getLogger(__package__)


class PubSubBrokers(Brokers[PubSubBroker]):
    """A layer in one process: a broker for each event loop, and what they share."""

    def __init__(self, settings: PubSubSettings) -> None:
        super().__init__(lambda: PubSubBroker(settings, self.outages, self._end_channels))
        self.settings = settings
        self.counters = settings.counters
        # In the names of channels.
        self.id = new_process()
        # One for each host.
        self.outages = [OutageLog(logger, str(connector.host)) for connector in settings.connectors]
        # Called with channels that have ended, each in the event loop of its broker.
        self.observers: list[Callable[[list[str]], object]] = []
        self._background = BackgroundShards(
            settings.connectors, settings.scripts, settings.counters
        )

    async def of_channel(self, channel: str, *, is_made_here: bool) -> PubSubBroker:
        """Return the broker that has a channel open, attached to the running loop; else its own.

        Args:
            channel: The channel. The loop's own broker does not have it open.
            is_made_here: Whether `new_channel` has made it. Any other may be open in several loops,
                as in several processes.

        Raises:
            RuntimeError: `new_channel` has made it in another event loop, which still runs.
        """
        for broker in self.values():
            if channel in broker.hub:
                try:
                    await self.adopt(broker, channel)
                except RuntimeError:
                    if is_made_here:
                        raise
                else:
                    return broker
        return self.get()

    def shards(self) -> Shards:
        """Return the command connections for calls of the running event loop."""
        broker = self.by_loop.get(asyncio.get_running_loop())
        if broker is None:
            return self._background.for_running_loop() or self.get().shards
        return broker.shards

    def leave(self, topic: bytes, channel: str) -> None:
        """End a channel's membership in a topic."""
        for broker in self.values():
            if channel in broker.hub:
                self.call(broker, broker.leave, topic, channel)

    def count_groups(self) -> int:
        """Return the number of groups that have members in this process."""
        return len(set().union(*(broker.hub.groups() for broker in self.values())))

    def flush(self) -> None:
        """Drop all unread messages, and end all memberships in groups."""
        for broker in self.values():
            self.call(broker, broker.flush)

    async def close_connections(self) -> None:
        """Close the connections in the background, and of the running event loop.

        The latter stay while a consumer in another task needs their subscriptions.
        """
        try:
            await self.close(PubSubBroker.is_consumed)
        finally:
            await self._background.close()

    def _end_channels(self, broker: PubSubBroker, channels: Sequence[str]) -> None:
        self.call(broker, self._close_channels, broker, channels)

    def _close_channels(self, broker: PubSubBroker, channels: Sequence[str]) -> None:
        for channel in channels:
            broker.close(channel)
        for observer in self.observers:
            observer(list(channels))
