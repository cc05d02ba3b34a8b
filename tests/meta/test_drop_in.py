"""Code and settings written for channels_redis 4 keep working."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from channels_redis import core, pubsub

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

LAYERS: list[Any] = [core.RedisChannelLayer, pubsub.RedisPubSubChannelLayer]
DEADLINE = 30.0


def watching(base: Any) -> Any:
    """Return a class of layers that sees what it sends and receives, as a user may write one."""

    class Watching(base):  # type: ignore[misc]  # it may be either
        def serialize(self, message: dict[str, Any]) -> bytes:
            data: bytes = super().serialize({**message, "sent": True})
            return data

        def deserialize(self, message: bytes) -> dict[str, Any]:
            return {**super().deserialize(message), "received": True}

    return Watching


class Marking(core.registry.get_serializer("json").__class__):  # type: ignore[misc]
    """A built-in format with another way back."""

    def deserialize(self, data: bytes) -> dict[str, Any]:
        """Return the message, and mark it."""
        return {**super().deserialize(data), "received": True}


core.registry.register_serializer("marking", Marking)


@pytest.mark.parametrize("base", LAYERS)
@pytest.mark.parametrize("keys", [None, ["a key"]], ids=["plain", "encrypted"])
async def test_methods_of_a_subclass_are_called(
    redis_server: EmbeddedServer, prefix: str, base: Any, keys: list[str] | None
) -> None:
    """Both `serialize` and `deserialize`, for direct and for group messages."""
    layer = watching(base)([redis_server.url], prefix, symmetric_encryption_keys=keys)
    seen = {"type": "x", "list": [1], "sent": True, "received": True}
    assert await exchanged(layer, {"type": "x", "list": [1]}) == [seen] * 3


@pytest.mark.parametrize("base", LAYERS)
async def test_deserialize_of_a_serializer_is_called(
    redis_server: EmbeddedServer, prefix: str, base: Any
) -> None:
    """Also if its class derives from a built-in one, of which the layers call parts otherwise."""
    layer = base([redis_server.url], prefix, serializer_format="marking")
    assert await exchanged(layer, {"type": "x"}) == [{"type": "x", "received": True}] * 3


async def exchanged(layer: Any, message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a direct message, and a group message that two channels of the layer get."""
    one, two = await layer.new_channel(), await layer.new_channel()
    await layer.send(one, message)
    got = [await asyncio.wait_for(layer.receive(one), DEADLINE)]
    for channel in (one, two):
        await layer.group_add("room", channel)
    await layer.group_send("room", message)
    got += [await asyncio.wait_for(layer.receive(channel), DEADLINE) for channel in (one, two)]
    await layer.close_pools()
    return got


def test_options_of_the_queue_layer_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """A site that changes the BACKEND alone gets one warning that names what does nothing."""
    with caplog.at_level(logging.WARNING, "channels_redis_pubsub"):
        LAYERS[1](group_expiry=60, random_prefix_length=12)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert (
        "RedisPubSubChannelLayer ignores the queue-layer option group_expiry, random_prefix_length"
        in record.message
    )
    assert "remove it from CONFIG" in record.message


def test_third_of_a_triple_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """Only the host and the port of a tuple count; the rest may be a password."""
    with caplog.at_level(logging.WARNING, "channels_redis_queue"):
        layer = core.RedisChannelLayer([("example.org", 6380, "s3cret")])
    assert repr(layer) == "RedisChannelLayer(redis://example.org:6380/0)"
    (record,) = caplog.records
    assert "for another database write" in record.message
    assert "s3cret" not in record.message


def test_hosts_are_dicts() -> None:
    """As code expects that connects by itself."""
    sentinels = {"sentinels": [("sentinel", 26379)], "master_name": "mymaster"}
    hosts = ["redis://:s3cret@example.org:6380/1", ("example.org", 6381), sentinels]
    assert core.RedisChannelLayer(hosts).hosts == [
        {"address": "redis://:s3cret@example.org:6380/1"},
        {"host": "example.org", "port": 6381},
        sentinels,
    ]
    assert core.RedisChannelLayer().hosts == [{"address": "redis://localhost:6379"}]
    assert core.RedisChannelLayer(iter(hosts)).hosts == core.RedisChannelLayer(hosts).hosts


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", ["connection", "create_pool"])
def test_former_hook_is_refused(layer: Any, name: str) -> None:
    """A subclass with a method that is never called would connect elsewhere than it means to."""
    cls = type("OwnLayer", (layer,), {name: lambda _, index: index})
    with pytest.raises(TypeError, match=f"^OwnLayer overrides '{name}', .* write servers"):
        cls()
