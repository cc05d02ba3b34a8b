"""All targets of each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuzz import histories, targets

if TYPE_CHECKING:
    from fuzz.targets import Target

TARGETS: dict[str, tuple[type[Target], ...]] = {
    "queue": (
        targets.QueueMessages,
        targets.QueueJson,
        targets.QueueFernet,
        targets.QueueNames,
        targets.QueueWrongTypes,
        targets.QueuePresenceTarget,
        histories.QueueHistory,
        targets.QueueHello,
        targets.QueueSentinel,
        targets.QueueCluster,
    ),
    "pubsub": (
        targets.PubSubMessages,
        targets.PubSubJson,
        targets.PubSubFernet,
        targets.PubSubPresenceTarget,
        histories.PubSubHistory,
        targets.PubSubHello,
        targets.PubSubSentinel,
        targets.PubSubCluster,
    ),
}
