"""A program that uses the queue layer, for type checkers to read."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from typing_extensions import assert_type

from channels_redis_queue import RedisChannelLayer, __version__
from channels_redis_queue.serializers import BaseMessageSerializer

VERSION: str = __version__
SENTINELS = {"sentinels": [("sentinel", 26379)], "master_name": "mymaster"}
LAYERS = [
    RedisChannelLayer(hosts=["redis://localhost", ("localhost", 6379), SENTINELS]),
    RedisChannelLayer(expiry=1, prefix="chat:", channel_capacity={"jobs*": 5}),
    RedisChannelLayer(channel_capacity={re.compile("jobs"): 5, "http.*": 6}),
    RedisChannelLayer(symmetric_encryption_keys=[b"new", b"old"]),
]


async def use(layer: RedisChannelLayer) -> None:
    """Call what a layer offers."""
    channel = await layer.new_channel()
    assert_type(channel, str)
    assert_type(await layer.receive(channel), dict[str, Any])
    message = {"type": "chat.message", "text": "hello"}
    with suppress(layer.ChannelFull, layer.MessageTooLarge):
        await layer.send(channel, message)
    await layer.group_add("room", channel)
    await layer.group_send(group="room", message=message)
    assert_type(layer.serialize({"type": "x"}), bytes)
    assert_type(layer.group_expiry, int)


async def mistakes(layer: RedisChannelLayer) -> None:
    """Do what a type checker must find: each comment would be one too many otherwise."""
    RedisChannelLayer(expires=5)  # type: ignore[arg-type]
    RedisChannelLayer(expiry="60")  # type: ignore[arg-type]
    RedisChannelLayer(channel_capacity={"jobs": "5"})  # type: ignore[dict-item]
    await layer.send("channel", "text")  # type: ignore[arg-type]
    await layer.group_send("room")  # type: ignore[call-arg]
    BaseMessageSerializer()  # type: ignore[abstract]
