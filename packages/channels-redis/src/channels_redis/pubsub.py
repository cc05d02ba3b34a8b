"""The Pub/Sub layer, under its `channels_redis` import string."""

from __future__ import annotations

from channels_redis_pubsub import Dropped, History, Joined, RedisPubSubChannelLayer, Statistics

from .serializers import registry

__all__ = ["Dropped", "History", "Joined", "RedisPubSubChannelLayer", "Statistics", "registry"]
