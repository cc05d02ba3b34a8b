"""Each public name and option stays where users find it, and none appears unnoticed."""

from __future__ import annotations

import inspect
import re
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from channels import exceptions

from channels_redis import serializers
from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import Dropped, History, Joined, RedisChannelLayer, Statistics
from channels_redis_queue.broadcast import Broadcasts, broadcast
from channels_redis_queue.presence import People, Presence
from channels_redis_queue.serializers import registry as queue_registry

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCES = sorted((Path(__file__).parents[2] / "packages").glob("*/src"))
RESULTS = {"Dropped", "History", "Joined", "Statistics"}
SERIALIZERS = {"BaseMessageSerializer", "JSONSerializer", "MsgPackSerializer", "registry"}
BROADCAST = {"Broadcasts", "broadcast"}
PRESENCE = {"People", "Presence"}
NAMES: dict[str, set[str]] = {
    "channels_redis": {"__version__"},
    "channels_redis.broadcast": BROADCAST,
    "channels_redis.core": {
        "BaseChannelLayer",
        "ChannelFull",
        "RedisChannelLayer",
        "registry",
        *RESULTS,
    },
    "channels_redis.presence": PRESENCE,
    "channels_redis.pubsub": {"RedisPubSubChannelLayer", "registry", *RESULTS},
    "channels_redis.serializers": {*SERIALIZERS, "SerializerDoesNotExist"},
    # What channels_redis 4 has there raises errors with advice.
    "channels_redis.utils": set(),
    "channels_redis_pubsub": {"RedisPubSubChannelLayer", "__version__", *RESULTS},
    "channels_redis_pubsub.broadcast": BROADCAST,
    "channels_redis_pubsub.presence": PRESENCE,
    "channels_redis_pubsub.serializers": SERIALIZERS,
    "channels_redis_queue": {"RedisChannelLayer", "__version__", *RESULTS},
    "channels_redis_queue.broadcast": BROADCAST,
    "channels_redis_queue.presence": PRESENCE,
    "channels_redis_queue.serializers": SERIALIZERS,
}
# For the commands of the packages.
INTERNAL_MODULES = {"channels_redis_pubsub.doctor", "channels_redis_queue.doctor"}

OPTIONS_OF_BOTH: dict[str, object] = {
    "channel_expiry": 60,
    "mailbox_bytes": 67108864,
    "on_overflow": None,
    "history": None,
    "on_gap": None,
}
# In the order in which positional arguments have them, which begins as in channels_redis 4.
OPTIONS: dict[Any, dict[str, object]] = {
    RedisChannelLayer: {
        "hosts": None,
        "prefix": "asgi",
        "expiry": 60,
        "group_expiry": 86400,
        "capacity": 100,
        "channel_capacity": None,
        "symmetric_encryption_keys": None,
        "random_prefix_length": 12,
        "serializer_format": "msgpack",
        **OPTIONS_OF_BOTH,
    },
    RedisPubSubChannelLayer: {
        "hosts": None,
        "prefix": "asgi",
        "on_disconnect": None,
        "on_reconnect": None,
        "capacity": None,
        "channel_capacity": None,
        "symmetric_encryption_keys": None,
        "serializer_format": "msgpack",
        "sharded_pubsub": False,
        "expiry": 60,
        **OPTIONS_OF_BOTH,
    },
}

# The members of objects: methods with their arguments, other attributes with "".
LAYER = {
    "send": "(channel, message)",
    "receive": "(channel)",
    "group_add": "(group, channel, *, since=None, rewind=None)",
    "group_discard": "(group, channel)",
    "group_send": "(group, message, *, exclude=())",
    "group_count": "(group)",
    "group_history": "(group, since=None, limit=None)",
    "require_valid_channel_name": "(name, receive=False)",
    "require_valid_group_name": "(name)",
    "group_channels": "(group)",
    "flush": "()",
    "statistics": "()",
    "close_pools": "()",
    "serialize": "(message)",
    "deserialize": "(message)",
    **dict.fromkeys(("ChannelFull", "MessageTooLarge", "extensions"), ""),
    **dict.fromkeys(("channel_name_regex", "group_name_regex"), ""),
    **dict.fromkeys(("hosts", "prefix", "expiry", "capacity", "channel_capacity"), ""),
    "channel_expiry": "",
}
# For `Presence` and `Broadcasts`, not for users.
INTERNAL = {
    "attach_sink",
    "key_shards",
    "knows_channel",
    "on_channels_ended",
    "presence_key_head",
    "spawn",
}
REGISTRY = {
    "register_serializer": "(format, serializer_class)",
    "get_serializer": "(format, **arguments)",
}
STATISTICS = (
    "sent",
    "received",
    "dropped",
    "reconnects",
    "outage_seconds",
    "mailboxes",
    "waiting",
    "groups",
    "commands",
    "round_trips",
    "broadcasts",
    "replayed",
    "unrecovered",
)
DROPPED = ("capacity", "expired", "undecodable", "mailbox_full")
SERIALIZER = {
    "as_bytes": "(message, **arguments)",
    "from_bytes": "(data, **arguments)",
    "serialize": "(message)",
    "deserialize": "(data)",
    "encrypt": "(body)",
    "decrypt": "(data)",
    "is_plain": "",
    "random_prefix_length": "",
    "expiry": "",
}
MEMBERS: dict[str, tuple[Callable[[], object], dict[str, str]]] = {
    "queue layer": (
        RedisChannelLayer,
        {
            **LAYER,
            "new_channel": "(prefix='specific')",
            "client_prefix": "",
            "group_expiry": "",
        },
    ),
    "Pub/Sub layer": (
        RedisPubSubChannelLayer,
        {
            **LAYER,
            "new_channel": "(prefix='specific.')",
            "on_disconnect": "",
            "on_reconnect": "",
        },
    ),
    "statistics": (
        partial(Statistics, 0, 0),
        {**dict.fromkeys(STATISTICS, ""), "commands_per_round_trip": ""},
    ),
    "dropped": (Dropped, dict.fromkeys(DROPPED, "")),
    "history": (
        partial(History, [], "", recovered=True),
        dict.fromkeys(("messages", "position", "recovered"), ""),
    ),
    "joined": (partial(Joined, "", recovered=True), {"position": "", "recovered": ""}),
    "presence": (
        Presence,
        {
            "track": "(group, channel, key, meta=None)",
            "untrack": "(group, channel)",
            "list": "(group)",
            "count": "(group)",
            "alias": "",
            "grace": "",
        },
    ),
    "people": (People, {"at": ""}),
    "registry of both layers": (lambda: serializers.registry, REGISTRY),
    "registry of a layer": (lambda: queue_registry, REGISTRY),
    "JSON": (serializers.JSONSerializer, SERIALIZER),
    "MessagePack": (
        serializers.MsgPackSerializer,
        {**SERIALIZER, "from_bytes": "(data, *, strict_map_key=False, **arguments)"},
    ),
}
CONSTRUCTORS: dict[Any, str] = {
    History: "(messages, position, recovered)",
    Joined: "(position, recovered)",
    Presence: "(alias='default', *, grace=15.0)",
    broadcast: "(function)",
    Broadcasts: "()",
    serializers.BaseMessageSerializer: (
        "(symmetric_encryption_keys=None, random_prefix_length=0, expiry=None)"
    ),
    serializers.SerializersRegistry: "()",
}


def arguments(function: Any) -> str:
    """Return the arguments of a function as one writes them, without types."""
    signature = inspect.signature(function)
    bare = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


def members(made: object) -> dict[str, str]:
    """Return the public members of an object that our classes define."""
    ours = [cls for cls in type(made).__mro__ if cls.__module__.startswith("channels_redis")]
    names = {name for cls in ours for name in vars(cls)} | set(getattr(made, "__dict__", ()))
    return {
        name: arguments(getattr(made, name))
        if inspect.isfunction(inspect.getattr_static(made, name))
        else ""
        for name in names
        if not name.startswith("_")
    }


def test_modules() -> None:
    """A module that says what it exports is a public one, and these are all."""
    exporting = {
        ".".join(file.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
        for source in SOURCES
        for file in [*source.glob("*/__init__.py"), *source.glob("*/[a-z]*.py")]
        if re.search(r"^__all__\b", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert exporting - INTERNAL_MODULES == set(NAMES)


@pytest.mark.parametrize("module", NAMES)
def test_module_has_its_names(module: str) -> None:
    """Each name of a public module can be imported, and it exports no other."""
    found = import_module(module)
    assert set(found.__all__) == NAMES[module]
    assert [name for name in NAMES[module] if not hasattr(found, name)] == []


@pytest.mark.parametrize("layer", OPTIONS)
def test_layer_has_its_options(layer: Any) -> None:
    """Each option has its place among positional arguments, and its default."""
    parameters = list(inspect.signature(layer).parameters.values())
    assert parameters.pop().kind is inspect.Parameter.VAR_KEYWORD
    assert {each.kind for each in parameters} == {inspect.Parameter.POSITIONAL_OR_KEYWORD}
    taken = [(each.name, each.default) for each in parameters]
    assert taken == list(OPTIONS[layer].items())


@pytest.mark.parametrize("thing", MEMBERS)
def test_members(thing: str) -> None:
    """Each object has its methods, with their arguments, and its attributes, and no others."""
    make, expected = MEMBERS[thing]
    found = members(make())
    assert {name: text for name, text in found.items() if name not in INTERNAL} == expected


@pytest.mark.parametrize("cls", CONSTRUCTORS)
def test_constructor(cls: Any) -> None:
    """Each class takes its arguments."""
    assert arguments(cls) == CONSTRUCTORS[cls]


@pytest.mark.parametrize("layer", OPTIONS)
def test_layer_has_its_attributes(layer: Any) -> None:
    """Code that has a layer finds its exceptions, extensions and settings on it."""
    assert layer.ChannelFull is exceptions.ChannelFull
    assert layer.MessageTooLarge is exceptions.MessageTooLarge
    assert {"groups", "flush"} <= set(layer.extensions)
    made = layer(prefix="site-", capacity=7)
    assert (made.prefix, made.capacity) == ("site-", 7)
