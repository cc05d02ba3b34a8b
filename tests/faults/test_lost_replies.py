"""Replies that get lost on their way: the server did what it was asked, the layer cannot know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis.exceptions

from support.messages import take_numbers, within
from support.queue_layers import Layers, nothing_else

if TYPE_CHECKING:
    from support.proxy import TcpProxy


ROUNDS = 10


async def test_reply_of_a_send(own_layers: Layers, proxy: TcpProxy) -> None:
    """The caller gets an error, and the message arrives at most once."""
    sender, layer = own_layers(hosts=[proxy.url]), own_layers()
    for channel in (await layer.new_channel(), "jobs"):
        for number in range(ROUNDS):
            await sender.send("elsewhere", {"number": number})  # so that the connection is open
            loss = proxy.lose_reply(to=channel.encode())
            with pytest.raises(redis.exceptions.ConnectionError):
                await within(sender.send(channel, {"number": number}))
            assert loss.happened.is_set()
            await sender.send(channel, {"number": -1})
            numbers = await take_numbers(layer, channel, 1)
            while numbers[-1] != -1:
                numbers += await take_numbers(layer, channel, 1)
            assert numbers in ([-1], [number, -1])
        await nothing_else(layer, channel)


async def test_first_reply_of_a_new_connection(own_layers: Layers, proxy: TcpProxy) -> None:
    """The same when nothing was sent on the connection before: here even an error is not sure."""
    layer = own_layers()
    channel = await layer.new_channel()
    for number in range(ROUNDS):
        sender = own_layers(hosts=[proxy.url])
        loss = proxy.lose_reply(to=b"EVALSHA")
        with pytest.raises(redis.exceptions.ConnectionError):
            await within(sender.send(channel, {"number": number}))
        assert loss.happened.is_set()
    await layer.send(channel, {"number": -1})
    numbers = []
    while -1 not in numbers:
        numbers += await take_numbers(layer, channel, 1)
    assert numbers == [*sorted(set(numbers) - {-1}), -1]


async def test_reply_of_a_group_send(own_layers: Layers, proxy: TcpProxy) -> None:
    """The caller gets an error or not, and each member gets the message at most once."""
    sender, layer = own_layers(hosts=[proxy.url]), own_layers()
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    address = channel[: channel.index("!")].encode()
    for number in range(ROUNDS):
        await sender.send("elsewhere", {"number": number})
        loss = proxy.lose_reply(to=address)
        with pytest.raises(redis.exceptions.ConnectionError):
            await within(sender.group_send("room", {"number": number}))
        assert loss.happened.is_set()
    await layer.send(channel, {"number": -1})
    assert await take_numbers(layer, channel, ROUNDS + 1) == [*range(ROUNDS), -1]


async def test_reply_of_a_join(own_layers: Layers, proxy: TcpProxy) -> None:
    """`group_add` succeeds nevertheless."""
    layer, other = own_layers(hosts=[proxy.url]), own_layers()
    channel = await layer.new_channel()
    for number in range(ROUNDS):
        room = f"room-{number}"
        await layer.send("elsewhere", {"type": "hello"})
        loss = proxy.lose_reply(to=room.encode())
        await within(layer.group_add(room, channel))
        assert loss.happened.is_set()
        await other.group_send(room, {"number": number})
        assert await take_numbers(layer, channel, 1) == [number]


async def test_reply_of_a_discard(own_layers: Layers, proxy: TcpProxy) -> None:
    """Whichever of the two replies of a `group_discard` is lost, the membership ends, once."""
    layer, other = own_layers(), own_layers(hosts=[proxy.url])
    for to in (b":group:", b"$bell"):
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        await other.send("elsewhere", {"type": "hello"})
        loss = proxy.lose_reply(to=to)
        await within(other.group_discard("room", channel))
        assert loss.happened.is_set()
        await layer.group_send("room", {"type": "unheard"})
        await nothing_else(layer, channel)
