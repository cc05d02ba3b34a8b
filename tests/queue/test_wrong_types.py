"""Keys of the layer in which something else is kept: who is hurt, and what the error says."""

from __future__ import annotations

import asyncio
import re

import pytest
from asgiref.sync import async_to_sync
from redis.exceptions import ResponseError

from channels_redis_queue.keys import Keys
from support.messages import joined, take, take_numbers, within
from support.queue_layers import Layers, beside


@pytest.mark.parametrize("what", ["key", "bell"])
async def test_sender_alone(layers: Layers, what: str) -> None:
    """Sending to a process whose key is not a queue raises; all others get the message."""
    sender = layers()
    channels = {}
    for _ in range(5):
        layer = layers()
        channel = await joined(layer, "room")
        channels[channel] = layer
    await sender.group_send("room", {"number": 0})
    for channel, layer in channels.items():
        assert await take_numbers(layer, channel, 1) == [0]
    # The one that a sender that stopped at it would come to first.
    bad = min(channels)
    wrong = getattr(beside(sender, bad), what)
    channels.pop(bad)
    with layers.server.client() as client:
        client.delete(wrong)
        client.set(wrong, "something else")
    for number in (1, 2):
        with pytest.raises(ResponseError, match=re.escape(wrong)):
            await sender.group_send("room", {"number": number})
    with pytest.raises(ResponseError, match=re.escape(wrong)):
        await sender.send(bad, {"number": 3})
    sends = (sender.send(name, {"number": 3}) for name in [*channels, bad])
    *others, error = await asyncio.gather(*sends, return_exceptions=True)
    assert isinstance(error, ResponseError)
    assert others == [None] * len(channels)
    for channel, layer in channels.items():
        assert await take_numbers(layer, channel, 3) == [1, 2, 3]


async def test_group(layers: Layers) -> None:
    """Whatever is asked of a group whose key is of another type, the error names the key."""
    layer = layers()
    channel = await joined(layer, "room")
    # The second time with the names that the group had.
    for number in range(2):
        await layer.group_send("room", {"number": number})
        assert await take_numbers(layer, channel, 1) == [number]
    group = Keys(layer.prefix).group("room")
    with layers.server.client() as client:
        client.delete(group)
        client.set(group, "something else")
    synchronous = layers()
    for attempt in (
        layer.group_send("room", {"type": "x"}),
        layers().group_send("room", {"type": "x"}),
        layer.group_add("room", await layer.new_channel()),
        layer.group_discard("room", "jobs"),
        layer.group_count("room"),
        asyncio.to_thread(async_to_sync(synchronous.group_send), "room", {"type": "x"}),
        asyncio.to_thread(async_to_sync(synchronous.group_add), "room", "jobs"),
    ):
        with pytest.raises(ResponseError, match=f"WRONGTYPE.*{group}"):
            await within(attempt)


@pytest.mark.parametrize("what", ["key", "bell"])
@pytest.mark.parametrize("kind", ["specific", "general"])
async def test_first_receive(layers: Layers, what: str, kind: str) -> None:
    """A consumer whose channel can't be read gets an error that names the key."""
    layer = layers()
    channel = await layer.new_channel() if kind == "specific" else "jobs"
    wrong = getattr(beside(layer, channel), what)
    with layers.server.client() as client:
        client.set(wrong, "something else")
        with pytest.raises(ResponseError, match=f"WRONGTYPE.* {re.escape(wrong)}"):
            await within(layer.receive(channel))
        client.delete(wrong)
    await layer.send(channel, {"type": "hello"})
    assert await take(layer, channel) == {"type": "hello"}
