"""The layers that a soak may test, by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from channels.layers import channel_layers
from django.conf import settings

from soak.journal import BACK, GAP, LOST, OVERFLOW

CLASSES = {
    "queue": "channels_redis_queue.RedisChannelLayer",
    "pubsub": "channels_redis_pubsub.RedisPubSubChannelLayer",
    "channels_redis.core": "channels_redis.core.RedisChannelLayer",
    "channels_redis.pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}
# More than can wait: what is dropped for want of room is no loss that a soak looks for.
CAPACITY = 10_000
EXPIRY = 30  # seconds; a process may be stopped for shorter, and for longer
# Short, so that figures come back soon after the last consumer has failed.
CHANNEL_EXPIRY = 15  # seconds
# Shorter than the longest stop of a process, so that some of it has gone by then.
HISTORY = {"kept-*": {"size": 1_000, "ttl": 60}}
KEY = "0123456789abcdef"
GRACE = 1.0  # seconds until a person leaves


def kind_of(name: str) -> str:
    """Return whose promises a layer is held to: those of "queue" or "pubsub"."""
    return "pubsub" if "pubsub" in name else "queue"


def is_foreign(name: str) -> bool:
    """Return whether a layer is that of `channels_redis` 4."""
    return name.startswith("channels_redis.")


def make_layer(name: str, hosts: list[Any], *, encrypted: bool, recovery: bool) -> Any:
    """Return a layer.

    Args:
        name: One of `CLASSES`.
        hosts: The option of this name.
        encrypted: Whether messages are encrypted.
        recovery: Whether there are groups with a history.
    """
    options: dict[str, Any] = {"hosts": hosts}
    if encrypted:
        options["symmetric_encryption_keys"] = [KEY]
    if kind_of(name) == "queue":
        options |= {"expiry": EXPIRY, "capacity": CAPACITY}
    else:
        options |= {"on_disconnect": LOST, "on_reconnect": BACK}
    if not is_foreign(name):
        options |= {"on_overflow": OVERFLOW, "expiry": EXPIRY, "channel_expiry": CHANNEL_EXPIRY}
    if recovery:
        options |= {"history": HISTORY, "on_gap": GAP}
    module, _, attribute = CLASSES[name].rpartition(".")
    return getattr(import_module(module), attribute)(**options)


def make_presence(layer: Any) -> Any:
    """Return the presence of a layer."""
    settings.configure()
    channel_layers.set("default", layer)
    # Not installed where a layer of `channels_redis` 4 is tested.
    return import_module("channels_redis_queue.presence").Presence(grace=GRACE)
