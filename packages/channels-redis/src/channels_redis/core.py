"""The queue layer, under its `channels_redis` import string."""

from __future__ import annotations

from channels.exceptions import ChannelFull
from channels.layers import BaseChannelLayer

from channels_redis_queue import Dropped, History, Joined, RedisChannelLayer, Statistics

from .serializers import registry

__all__ = [
    "BaseChannelLayer",
    "ChannelFull",
    "Dropped",
    "History",
    "Joined",
    "RedisChannelLayer",
    "Statistics",
    "registry",
]
