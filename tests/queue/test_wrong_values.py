"""Keys of the layer to which others have written: who is hurt, and what the error says."""

from __future__ import annotations

import asyncio
import re
import time

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
    channels = {await joined(layer, "room"): layer for layer in [layers() for _ in range(5)]}
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


async def test_encrypted_message_in_the_key_of_another_channel(
    layers: Layers, caplog: pytest.LogCaptureFixture
) -> None:
    """Write access to Redis doesn't allow redirecting a message to another channel."""
    layer = layers(symmetric_encryption_keys=["a key"])
    channel = await layer.new_channel()
    await layer.send(channel, {"number": 0})
    await layer.send("thumbnails", {"number": 0})
    await layer.group_add("workers", "mails")
    await layer.group_send("workers", {"number": 0})
    await layer.send("payments", {"number": 1})
    payments = beside(layer, "payments").key
    sources = [beside(layer, name).key for name in (channel, "thumbnails", "mails")]
    with layers.server.client() as client:
        for number, source in enumerate(sources):
            (stolen,) = client.zrange(source, 0, -1)
            client.zadd(payments, {stolen: time.time() - 30 + number})
    assert await take_numbers(layer, "payments", 1) == [1]
    assert "it is for another channel" in caplog.text
    assert layer.statistics().dropped.undecodable == len(sources)
    for name in (channel, "thumbnails", "mails"):
        assert await take_numbers(layer, name, 1) == [0]


async def test_encrypted_message_of_channels_redis_4(layers: Layers) -> None:
    """A process of channels_redis 4 names no general channel in what it sends there."""
    layer = layers(symmetric_encryption_keys=["a key"])
    with layers.server.client() as client:
        names = beside(layer, "jobs")
        client.zadd(names.bell, {"": 0})
        client.zadd(names.key, {layer.serialize({"number": 0}): time.time()})
    assert await take(layer, "jobs") == {"number": 0}
