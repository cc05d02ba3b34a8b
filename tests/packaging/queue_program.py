"""A program that uses the queue layer with all its options, for type checkers to read."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from typing_extensions import assert_type

from channels_redis_queue import RedisChannelLayer, __version__
from channels_redis_queue.serializers import (
    BaseMessageSerializer,
    registry,
)

VERSION: str = __version__


class Reversed(BaseMessageSerializer):
    """A format of the program's own."""

    def as_bytes(self, message: dict[str, Any]) -> bytes:
        """Return the message, from its end to its start."""
        return repr(message)[::-1].encode()

    def from_bytes(self, data: bytes) -> dict[str, Any]:
        """Return a message with the bytes."""
        return {"type": "reversed", "data": data}


def construct() -> list[RedisChannelLayer]:
    """Construct layers with each option in each of its forms."""
    registry.register_serializer("reversed", Reversed)
    sentinels = {"sentinels": [("sentinel", 26379)], "master_name": "mymaster"}
    return [
        RedisChannelLayer(hosts=["redis://localhost", ("localhost", 6379), sentinels]),
        RedisChannelLayer(expiry=1, prefix="chat:", channel_capacity={"jobs*": 5}),
        RedisChannelLayer(channel_capacity={re.compile("jobs"): 5, "http.*": 6}),
        RedisChannelLayer(symmetric_encryption_keys=[b"new", b"old"]),
    ]


async def use(layer: RedisChannelLayer) -> None:
    """Call everything that a layer offers."""
    channel = await layer.new_channel()
    assert_type(channel, str)
    assert_type(await layer.new_channel(prefix="worker"), str)
    assert_type(await layer.receive(channel), dict[str, Any])
    message = {"type": "chat.message", "text": "hello"}
    with suppress(layer.ChannelFull, layer.MessageTooLarge):
        await layer.send(channel, message)
    await layer.group_add("room", channel)
    await layer.group_send(group="room", message=message)
    await layer.group_discard("room", channel)
    await layer.flush()
    await layer.close_pools()
    assert_type(layer.serialize({"type": "x"}), bytes)
    assert_type(layer.deserialize(b"\x80"), dict[str, Any])
    assert_type(layer.prefix, str)
    assert_type(layer.group_expiry, int)


async def mistakes(layer: RedisChannelLayer) -> None:
    """Do what a type checker must find: each comment would be one too many otherwise."""
    RedisChannelLayer(expires=5)  # type: ignore[arg-type]
    RedisChannelLayer(prefix=b"chat")  # type: ignore[arg-type]
    RedisChannelLayer(expiry="60")  # type: ignore[arg-type]
    RedisChannelLayer(hosts=5)  # type: ignore[arg-type]
    RedisChannelLayer(symmetric_encryption_keys="key")  # type: ignore[arg-type]
    RedisChannelLayer(channel_capacity={"jobs": "5"})  # type: ignore[dict-item]
    await layer.send("channel", "text")  # type: ignore[arg-type]
    await layer.group_send("room")  # type: ignore[call-arg]
    await layer.group_add("room", None)  # type: ignore[arg-type]
    BaseMessageSerializer()  # type: ignore[abstract]
