"""The validated options of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._shared.history.settings import HistorySettings
from ._shared.transport.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, kw_only=True)
class PubSubSettings(HistorySettings):
    """The validated options of a layer."""

    # Returns the maximum number of unread messages of a channel; None: any number.
    capacity: Callable[[str], int | None]
    # The types of the notices of an outage and of its end; None: there is none.
    on_disconnect: str | None
    on_reconnect: str | None
    # True if a message stays at the node that owns its topic's slot.
    sharded_pubsub: bool
    # Returns the group of a topic.
    group_of: Callable[[bytes], str]

    @property
    def publishes_anywhere(self) -> bool:
        """True if messages go to any node of a Cluster, unlike commands on keys."""
        is_cluster = any(isinstance(connector, Cluster) for connector in self.connectors)
        return is_cluster and not self.sharded_pubsub
