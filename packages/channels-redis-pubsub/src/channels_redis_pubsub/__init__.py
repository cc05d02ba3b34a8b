"""A channel layer for Django Channels on Redis Pub/Sub."""

from __future__ import annotations

from .layer import RedisPubSubChannelLayer

__all__ = ["RedisPubSubChannelLayer", "__version__"]

__version__ = "0.9.0"
