"""Keys of the layer in which something else is kept: who is hurt, and what the error says."""

from __future__ import annotations

import asyncio
import re
import traceback
from typing import TYPE_CHECKING

import pytest
from asgiref.sync import async_to_sync
from redis.exceptions import ResponseError

from support import inside
from support.messages import take, take_numbers, within
from support.queue_layers import Layers, beside
from support.waiting import eventually

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer


@pytest.mark.parametrize("what", ["key", "bell"])
async def test_sender_alone(layers: Layers, redis_server: EmbeddedServer, what: str) -> None:
    """Sending to a process whose key is not a queue raises; all others get the message."""
    sender = layers()
    channels = {}
    for _ in range(5):
        layer = layers()
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        channels[channel] = layer
    await sender.group_send("room", {"number": 0})
    for channel, layer in channels.items():
        assert await take_numbers(layer, channel, 1) == [0]
    # The one that a sender that stopped at it would come to first.
    bad = min(channels)
    wrong = getattr(beside(sender, bad), what)
    channels.pop(bad)
    with redis_server.client() as client:
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


async def test_group(layers: Layers, redis_server: EmbeddedServer) -> None:
    """Whatever is asked of a group whose key is of another type, the error names the key."""
    layer = layers()
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    # The second time with the names that the group had.
    for number in range(2):
        await layer.group_send("room", {"number": number})
        assert await take_numbers(layer, channel, 1) == [number]
    group = inside.keys(layer).group("room")
    with redis_server.client() as client:
        client.delete(group)
        client.set(group, "something else")
    for attempt in (
        layer.group_send("room", {"type": "x"}),
        layers().group_send("room", {"type": "x"}),
        layer.group_add("room", await layer.new_channel()),
        layer.group_discard("room", "jobs"),
        layer.group_count("room"),
    ):
        with pytest.raises(ResponseError, match=f"WRONGTYPE.*{group}"):
            await within(attempt)
    synchronous = layers()
    with pytest.raises(ResponseError, match=f"WRONGTYPE.*{group}"):
        await asyncio.to_thread(async_to_sync(synchronous.group_send), "room", {"type": "x"})
    with pytest.raises(ResponseError, match=f"WRONGTYPE.*{group}"):
        await asyncio.to_thread(async_to_sync(synchronous.group_add), "room", "jobs")


@pytest.mark.parametrize("what", ["key", "bell"])
@pytest.mark.parametrize("kind", ["specific", "general"])
async def test_first_receive(
    layers: Layers, redis_server: EmbeddedServer, what: str, kind: str
) -> None:
    """A consumer whose channel can't be read gets an error that names the key."""
    layer = layers()
    channel = await layer.new_channel() if kind == "specific" else "jobs"
    wrong = getattr(beside(layer, channel), what)
    with redis_server.client() as client:
        client.set(wrong, "something else")
        with pytest.raises(ResponseError, match=f"WRONGTYPE.* {re.escape(wrong)}"):
            await within(layer.receive(channel))
        client.delete(wrong)
    await layer.send(channel, {"type": "hello"})
    assert await take(layer, channel) == {"type": "hello"}


async def test_many_receive(layers: Layers, redis_server: EmbeddedServer) -> None:
    """Each has an error of its own: a shared one would gather the tracebacks of all."""
    layer = layers()
    channels = [await layer.new_channel() for _ in range(20)]
    with redis_server.client() as client:
        client.set(beside(layer, channels[0]).key, "something else")
    receiving = (layer.receive(channel) for channel in channels)
    errors = await within(asyncio.gather(*receiving, return_exceptions=True))
    depths = [
        len(traceback.extract_tb(error.__traceback__))
        for error in errors
        if isinstance(error, ResponseError)
    ]
    assert len(depths) == len(channels)
    assert max(depths) < 10


async def test_later_receive(
    layers: Layers, redis_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A consumer that has received waits until the key is gone; one line of the log names it."""
    layer = layers()
    channel = await layer.new_channel()
    await layer.send(channel, {"number": 0})
    assert await take_numbers(layer, channel, 1) == [0]
    waiting = asyncio.create_task(layer.receive(channel))
    wrong = beside(layer, channel)
    with redis_server.client() as client:
        client.set(wrong.key, "something else")
        client.zadd(wrong.bell, {"": 0})
        await eventually(lambda: wrong.key in caplog.text)
        client.delete(wrong.key)
    await layer.send(channel, {"number": 1})
    assert (await within(waiting))["number"] == 1
    [line] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert line.getMessage().startswith("Lost ")


async def test_members_that_are_no_names(layers: Layers, redis_server: EmbeddedServer) -> None:
    """Bytes among a group's members that are no text end in no traceback."""
    layer = layers()
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    address = channel[: channel.index("!") + 1]
    with redis_server.client() as client:
        client.sadd(inside.keys(layer).members(f"{address}:g:room"), b"\xff\xfe")
    channels = await layer.group_channels("room")
    assert channel in channels
    assert len(channels) == await layer.group_count("room") == 2
