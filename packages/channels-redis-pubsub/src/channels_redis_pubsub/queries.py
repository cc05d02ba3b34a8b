"""The methods of the layer that only look: at groups, at itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._shared.concurrency.process_local import ProcessLocal
    from ._shared.ops.statistics import Statistics
    from .broker import PubSubBroker

_UNKNOWN_MEMBERS = (
    "Redis Pub/Sub knows which processes listen to the group {0!r}, and not for how many channels. "
    "Use the queue layer (channels_redis_queue.RedisChannelLayer), whose group_count and "
    "group_channels can tell, or count in your consumers, for instance in a database. How many "
    "processes listen, `python -m channels_redis_pubsub stats` shows"
)


class Queries:
    """What the layer inherits, besides Channels' own base class."""

    _broker: ProcessLocal[PubSubBroker]

    async def group_count(self, group: str) -> int:
        """Raise NotImplementedError: the queue layer can tell, Redis Pub/Sub can't."""
        raise NotImplementedError(_UNKNOWN_MEMBERS.format(group))

    async def group_channels(self, group: str) -> list[str]:
        """Raise NotImplementedError: the queue layer can tell, Redis Pub/Sub can't."""
        raise NotImplementedError(_UNKNOWN_MEMBERS.format(group))

    def statistics(self) -> Statistics:
        """Return what the layer has done in this process, and has now. Costs no command."""
        return self._broker.get().statistics()
