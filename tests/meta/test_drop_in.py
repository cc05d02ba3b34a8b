"""Code and settings written for channels_redis 4 keep working."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from channels_redis import core, pubsub
from support.messages import joined, take

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

LAYERS: list[Any] = [core.RedisChannelLayer, pubsub.RedisPubSubChannelLayer]


def watching(base: Any) -> Any:
    """A class of layers that sees what it sends and receives, as a user may write one."""

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
    """A direct message, and a group message that two channels of the layer get."""
    channels = [await joined(layer, "room") for _ in range(2)]
    await layer.send(channels[0], message)
    got = [await take(layer, channels[0])]
    await layer.group_send("room", message)
    got += [await take(layer, channel) for channel in channels]
    await layer.close_pools()
    return got


@pytest.mark.parametrize(
    ("layer", "arguments", "text"),
    [
        (LAYERS[1], {"group_expiry": 60, "random_prefix_length": 12}, "remove it from CONFIG"),
        # The rest of a tuple may be a password.
        (LAYERS[0], {"hosts": [("h", 6380, "s3cret")]}, "for another database write"),
    ],
)
def test_ignored(
    layer: Any, arguments: dict[str, Any], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An argument that 4.3.0 ignored gets one warning, which shows no value."""
    layer(**arguments)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert text in record.message
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
