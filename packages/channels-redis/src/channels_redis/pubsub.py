"""The Pub/Sub layer, under its `channels_redis` import string."""

from __future__ import annotations

from typing import TYPE_CHECKING

from channels_redis_pubsub import Dropped, History, Joined, RedisPubSubChannelLayer, Statistics

from ._former_names import refuse
from .serializers import registry

__all__ = ["Dropped", "History", "Joined", "RedisPubSubChannelLayer", "Statistics", "registry"]

if not TYPE_CHECKING:  # Type checkers would accept every name.

    def __getattr__(name: str) -> object:
        """Raise an error that names what replaces a name of channels_redis 4."""
        return refuse(__name__, name)
