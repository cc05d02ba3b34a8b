"""Former names in modules of channels_redis 4, and their replacements."""

from __future__ import annotations

import dis
import sys

_REDIS = "connect a redis.asyncio.Redis of your own"
_MEMBERS = "call the queue layer's group_count and group_channels to see who is in a group"
_LAYER = "derive from channels_redis.pubsub.RedisPubSubChannelLayer, which works in any event loop"

FORMER_NAMES = {
    "channels_redis.core": {
        "ChannelLock": "leave it out: a layer delivers each message to one reader",
    },
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
        ImportError: channels_redis 4 has it, and it is imported by `from`, for which Python would
            not show the text of an AttributeError.
        AttributeError: The name is unknown, or it is not imported: `hasattr` expects this error.
    """
    advice = FORMER_NAMES[module].get(name)
    if advice is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    text = f"{module} no longer has {name}: {advice}"
    importing = sys._getframe(2)  # noqa: SLF001 - no exception can be both
    if importing.f_code.co_code[importing.f_lasti] == dis.opmap["IMPORT_FROM"]:
        raise ImportError(text, name=module)
    raise AttributeError(text)
