"""The names that projects import from channels_redis."""

from __future__ import annotations

import channels.exceptions
import pytest

import channels_redis_pubsub
import channels_redis_queue
from channels_redis import core, pubsub, serializers
from channels_redis_pubsub.serializers import registry as pubsub_registry
from channels_redis_queue.serializers import registry as queue_registry


class OwnFormat(serializers.JSONSerializer):
    """A user's format."""


def test_layers_are_the_packages_own() -> None:
    """The old import strings lead to the very classes that the layers' packages export."""
    assert core.RedisChannelLayer is channels_redis_queue.RedisChannelLayer
    assert pubsub.RedisPubSubChannelLayer is channels_redis_pubsub.RedisPubSubChannelLayer
    assert core.ChannelFull is channels.exceptions.ChannelFull


def test_statistics_are_the_packages_own() -> None:
    """The classes of `statistics()` can be imported for annotations, by either import string."""
    queue = core.RedisChannelLayer().statistics()
    assert type(queue) is core.Statistics is channels_redis_queue.Statistics
    assert type(queue.dropped) is core.Dropped is channels_redis_queue.Dropped
    listener = pubsub.RedisPubSubChannelLayer().statistics()
    assert type(listener) is pubsub.Statistics is channels_redis_pubsub.Statistics
    assert type(listener.dropped) is pubsub.Dropped is channels_redis_pubsub.Dropped


def test_registering_reaches_both_layers() -> None:
    """A format registered in channels_redis can be named in either layer."""
    serializers.registry.register_serializer("own-format", OwnFormat)
    for registry in (queue_registry, pubsub_registry, serializers.registry):
        serializer = registry.get_serializer("own-format", random_prefix_length=3)
        assert isinstance(serializer, OwnFormat)
        assert serializer.deserialize(serializer.serialize({"a": 1})) == {"a": 1}


def test_unknown_format() -> None:
    """An unknown format raises SerializerDoesNotExist, a KeyError that names the known ones."""
    with pytest.raises(serializers.SerializerDoesNotExist, match="msgpack") as caught:
        serializers.registry.get_serializer("no such format")
    assert isinstance(caught.value, KeyError)
