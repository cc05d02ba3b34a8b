"""The queue layer, under its `channels_redis` import string."""

from __future__ import annotations

from typing import TYPE_CHECKING

from channels.exceptions import ChannelFull
from channels.layers import BaseChannelLayer

from channels_redis_queue import Dropped, History, Joined, RedisChannelLayer, Statistics

from ._former_names import refuse
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

if not TYPE_CHECKING:  # Type checkers would accept every name.

    def __getattr__(name: str) -> object:
        """Raise an error that names what replaces a name of channels_redis 4."""
        return refuse(__name__, name)
