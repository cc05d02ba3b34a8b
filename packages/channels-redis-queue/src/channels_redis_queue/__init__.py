"""A channel layer for Django Channels that queues its messages in Redis."""

from __future__ import annotations

from ._shared.history import History, Joined
from ._shared.ops.statistics import Dropped, Statistics
from .layer import RedisChannelLayer

__all__ = ["Dropped", "History", "Joined", "RedisChannelLayer", "Statistics", "__version__"]

__version__ = "1.0.0"
