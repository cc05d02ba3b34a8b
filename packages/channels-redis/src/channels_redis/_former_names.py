"""Former names in modules of channels_redis 4, and their replacements."""

from __future__ import annotations

_REDIS = "connect a redis.asyncio.Redis of your own"
_MEMBERS = "call the queue layer's group_count and group_channels to see who is in a group"
_LAYER = "derive from channels_redis.pubsub.RedisPubSubChannelLayer, which works in any event loop"

FORMER_NAMES = {
    "channels_redis.pubsub": {
        "RedisPubSubLoopLayer": _LAYER,
        "RedisSingleShardConnection": _REDIS,
    },
    "channels_redis.utils": {
        "_close_redis": "await its aclose()",
        "_consistent_hash": _MEMBERS,
        "_wrap_close": "leave it out: layers close what they have when their event loop ends",
        "create_pool": _REDIS,
        "decode_hosts": "the attribute hosts of a queue layer has each of its servers as a dict",
    },
}


def refuse(module: str, name: str) -> object:
    """Raise the error for a name that a module does not have.

    Raises:
        ImportError: channels_redis 4 has it. Python would not show the text of an AttributeError.
        AttributeError: The name is unknown.
    """
    advice = FORMER_NAMES[module].get(name)
    if advice is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    raise ImportError(f"{module} no longer has {name}: {advice}", name=module)
