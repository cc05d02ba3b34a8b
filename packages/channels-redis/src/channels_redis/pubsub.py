"""The Pub/Sub layer, under its `channels_redis` import string."""

from __future__ import annotations

from channels_redis_pubsub import RedisPubSubChannelLayer

from .serializers import registry

__all__ = ["RedisPubSubChannelLayer", "registry"]
