"""A channel layer for Django Channels on Redis Pub/Sub."""

from __future__ import annotations

from ._shared.history import History, Joined
from ._shared.ops.statistics import Dropped, Statistics
from .layer import RedisPubSubChannelLayer

__all__ = ["Dropped", "History", "Joined", "RedisPubSubChannelLayer", "Statistics", "__version__"]

__version__ = "0.9.0"
