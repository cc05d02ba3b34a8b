"""Attributes that layers of channels_redis 4 had, and what to use instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

_REDIS = "connect a redis.asyncio.Redis of your own"
_MEMBERS = (
    "the queue layer's group_count and group_channels tell who is in a group, "
    "whose key in Redis holds processes now"
)
_WAITING = "layer.statistics() tells how many messages wait in this process, and much more"
_LISTENING = "keep these names yourself; layer.statistics() tells how many there are"
_RECEIVING = "call layer.receive"
_NOTHING = "leave it out: a layer works in any event loop, and closes what it has when that ends"

FORMER_NAMES = {
    "connection": f"{_REDIS}. To count the members of a group, {_MEMBERS}",
    "create_pool": _REDIS,
    "consistent_hash": f"{_REDIS}. To count the members of a group, {_MEMBERS}",
    "ring_size": "there are as many shards as entries in the option hosts",
    "_group_key": _MEMBERS,
    "receive_buffer": _WAITING,
    "receive_count": _WAITING,
    "receive_single": _RECEIVING,
    "brpop_timeout": "a wait takes 5 s, which is no setting",
    "wait_received": _NOTHING,
    "channels": _LISTENING,
    "groups": _LISTENING,
    "_get_group_channel_name": "call layer.group_send",
    "_get_layer": _NOTHING,
    "_layers": _NOTHING,
}


class FormerNames:
    """Base class of the layers that names what replaces an attribute of channels_redis 4."""

    if not TYPE_CHECKING:  # A type checker would take every misspelt name for an attribute.

        def __getattr__(self, name: str) -> object:
            """Raise AttributeError; called only for what a layer has not."""
            advice = FORMER_NAMES.get(name)
            if advice is None:
                # The error that Python itself raises.
                return object.__getattribute__(self, name)
            raise AttributeError(
                f"{type(self).__name__} no longer has channels_redis 4's {name!r}: {advice}"
            )
