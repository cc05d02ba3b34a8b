"""The validated options of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._shared.history.settings import HistorySettings

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
