"""Each public name and option stays where users find it, whatever moves inside."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import pytest
from channels import exceptions

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer

SERIALIZERS = (
    "BaseMessageSerializer",
    "JSONSerializer",
    "MsgPackSerializer",
    "registry",
)
BROADCAST = ("Broadcasts", "broadcast")
PRESENCE = ("People", "Presence")
NAMES = {
    "channels_redis": ("__version__",),
    "channels_redis.broadcast": BROADCAST,
    "channels_redis.core": ("BaseChannelLayer", "ChannelFull", "RedisChannelLayer", "registry"),
    "channels_redis.presence": PRESENCE,
    "channels_redis.pubsub": ("RedisPubSubChannelLayer", "registry"),
    "channels_redis.serializers": (*SERIALIZERS, "SerializerDoesNotExist", "SerializersRegistry"),
    "channels_redis_pubsub": ("RedisPubSubChannelLayer", "__version__"),
    "channels_redis_pubsub.broadcast": BROADCAST,
    "channels_redis_pubsub.presence": PRESENCE,
    "channels_redis_pubsub.serializers": SERIALIZERS,
    "channels_redis_queue": ("RedisChannelLayer", "__version__"),
    "channels_redis_queue.broadcast": BROADCAST,
    "channels_redis_queue.presence": PRESENCE,
    "channels_redis_queue.serializers": SERIALIZERS,
}
# In the order in which positional arguments have them.
OPTIONS: dict[type, dict[str, object]] = {
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
        "groups": "processes",
    },
    RedisPubSubChannelLayer: {
        "hosts": None,
        "prefix": "asgi",
        "on_disconnect": None,
        "on_reconnect": None,
    },
}
# Keyword-only; their defaults are compared with docs/options.md in another test.
KEYWORDS = (
    "capacity",
    "channel_capacity",
    "symmetric_encryption_keys",
    "serializer_format",
    "sharded_pubsub",
)
METHODS: dict[str, list[str]] = {
    "new_channel": ["prefix"],
    "send": ["channel", "message"],
    "receive": ["channel"],
    "group_add": ["group", "channel"],
    "group_discard": ["group", "channel"],
    "group_send": ["group", "message"],
    "group_count": ["group"],
    "group_history": ["group", "since", "limit"],
    "group_channels": ["group"],
    "flush": [],
    "statistics": [],
    "close_pools": [],
    "serialize": ["message"],
    "deserialize": ["message"],
}
STATISTICS = {
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
    "commands_per_round_trip",
    "broadcasts",
    "replayed",
    "unrecovered",
}
DROPPED = {"capacity", "expired", "undecodable", "mailbox_full"}

LAYERS: list[Any] = [RedisChannelLayer, RedisPubSubChannelLayer]


@pytest.mark.parametrize("module", NAMES)
def test_module_has_its_names(module: str) -> None:
    """Each name of a public module can be imported."""
    found = import_module(module)
    assert [name for name in NAMES[module] if not hasattr(found, name)] == []


@pytest.mark.parametrize("layer", LAYERS)
def test_options_stand_in_their_order(layer: Any) -> None:
    """The first options may be given by position, with the defaults of channels_redis 4."""
    parameters = inspect.signature(layer).parameters
    first = {name: parameters[name].default for name in list(parameters)[: len(OPTIONS[layer])]}
    assert list(first.items()) == list(OPTIONS[layer].items())


def test_pubsub_options() -> None:
    """Each further option of the Pub/Sub layer is still one."""
    parameters = inspect.signature(RedisPubSubChannelLayer).parameters
    assert [name for name in KEYWORDS if name not in parameters] == []


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("method", METHODS)
def test_method_takes_its_arguments(layer: Any, method: str) -> None:
    """Each method takes its arguments by position, and requires only these."""
    parameters = list(inspect.signature(getattr(layer, method)).parameters.values())[1:]
    positional = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert positional == METHODS[method]
    assert all(
        one.default is not one.empty or one.kind is one.VAR_KEYWORD
        for one in parameters
        if one.name not in METHODS[method]
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_layer_has_its_attributes(layer: Any) -> None:
    """Code that has a layer finds its exceptions, extensions and settings on it."""
    assert layer.ChannelFull is exceptions.ChannelFull
    assert layer.MessageTooLarge is exceptions.MessageTooLarge
    assert {"groups", "flush"} <= set(layer.extensions)
    made = layer(prefix="site-", capacity=7)
    assert (made.prefix, made.capacity) == ("site-", 7)


@pytest.mark.parametrize("layer", LAYERS)
def test_statistics_have_their_numbers(layer: Any) -> None:
    """The fields of `statistics()` keep their names."""
    statistics = layer().statistics()
    assert {name for name in STATISTICS if not hasattr(statistics, name)} == set()
    assert {name for name in DROPPED if not hasattr(statistics.dropped, name)} == set()
