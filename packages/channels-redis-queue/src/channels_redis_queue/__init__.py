"""A channel layer for Django Channels that queues its messages in Redis."""

from __future__ import annotations

from .layer import RedisChannelLayer

__all__ = ["RedisChannelLayer", "__version__"]

__version__ = "1.0.0"
