"""The connections of a process, and the round trips of its calls."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from channels_redis_queue import receiver
from channels_redis_queue._shared.transport.connection import Connection
from support import inside
from support.counting import count_commands
from support.messages import take, within
from support.pubsub_layers import connections
from support.queue_layers import Layers, is_blocked, waiting
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from support.proxy import TcpProxy


TRIES = 5


async def test_500_consumers(own_layers: Layers) -> None:
    """500 waiting consumers hold at most 3 connections; 50 `group_send` at once, one more."""
    layer = own_layers()
    channels = [await layer.new_channel() for _ in range(500)]
    await within(asyncio.gather(*(layer.group_add("room", channel) for channel in channels)))
    consumers = [asyncio.create_task(layer.receive(channel)) for channel in channels[1:]]
    consumers.append(await waiting(layer, channels[0]))
    held = len(connections(own_layers.server))
    assert 2 <= held <= 3
    with count_commands(own_layers.server) as counted:
        await within(asyncio.gather(*(layer.group_send("room", {"n": n}) for n in range(50))))
    assert counted.connections <= 1
    assert {message["n"] for message in await within(asyncio.gather(*consumers))} == {0}
    assert len(connections(own_layers.server)) <= held + 1


@pytest.mark.usefixtures("frequent_checks")
async def test_prefixes_of_channels_that_have_gone(
    own_layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each prefix argument of `new_channel` has a receiver, as long as a channel of it is used."""
    monkeypatch.setattr(receiver, "IDLE_TIMEOUT", 0.05)
    layer, sender = own_layers(channel_expiry=1), own_layers()
    member = await layer.new_channel("member")

    async def consumer(number: int) -> str:
        channel = await layer.new_channel(f"user{number}")
        await sender.send(channel, {"number": number})
        assert await take(layer, channel) == {"number": number}
        return channel

    async def other() -> None:
        await layer.group_add("room", member)
        for number in range(2):
            assert await take(layer, member) == {"number": number}

    joined = asyncio.create_task(other())
    channels = [await asyncio.create_task(consumer(number)) for number in range(5)]
    await within(sender.group_send("room", {"number": 0}))
    # One that waits on the server: that of the member.
    await eventually(lambda: is_blocked(own_layers.server), 30)
    # The third for commands is that of the background loop, for the first calls of this one.
    await eventually(lambda: len(connections(own_layers.server)) <= 4)
    await within(sender.group_send("room", {"number": 1}))
    await within(joined)
    # Their names can be received on again, and nothing that was sent meanwhile is lost.
    for channel in channels:
        await within(sender.send(channel, {"number": 10}))
        assert await take(layer, channel) == {"number": 10}


async def test_lost_connections_are_forgotten(own_layers: Layers) -> None:
    """Neither what sends nor what receives keeps one alive, such as by the error of its loss."""
    layer = own_layers()
    channel = await layer.new_channel()
    others = {id(each) for each in gc.get_objects() if isinstance(each, Connection)}

    def kept() -> int:
        gc.collect()
        found = (each for each in gc.get_objects() if isinstance(each, Connection))
        return sum(id(each) not in others for each in found)

    receiving = await waiting(layer, channel)
    for _ in range(4):
        with own_layers.server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        await eventually(lambda: len(connections(own_layers.server)) > 0)
    await within(own_layers().send(channel, {"number": 1}))
    assert await within(receiving) == {"number": 1}
    # Of this layer for commands and to receive, and one that the message came from.
    await eventually(lambda: kept() <= 3)


async def test_round_trips(proxy: TcpProxy, own_layers: Layers) -> None:
    """One for `send` and `group_add`, two for `group_send` at most, one or none for `receive`."""

    async def fewest(call: Callable[[], Awaitable[object]]) -> int:
        seen = []
        for _ in range(TRIES):
            # What else is going on adds some.
            before = proxy.round_trips
            await within(call())
            seen.append(proxy.round_trips - before)
        return min(seen)

    layers = Layers(hosts=[proxy.url])
    layer, other, elsewhere = layers(), layers(), own_layers()
    for _ in range(20):  # until all connections are open, with the scripts loaded
        await layer.group_add("elsewhere", "unread")
    own = await layer.new_channel()
    for channel in (own, await other.new_channel(), "jobs"):
        assert await fewest(lambda name=channel: layer.send(name, {"n": 1})) == 1  # type: ignore[misc]
        assert await fewest(lambda name=channel: layer.group_add("room", name)) == 1  # type: ignore[misc]
    # A small group that is as it was known.
    assert await fewest(lambda: layer.group_send("room", {"n": 1})) == 1
    for number in range(150):
        await other.group_add("room", f"jobs-{number}")
    assert await fewest(lambda: layer.group_send("room", {"n": 1})) == 2
    for channel, most in ((own, 0), ("mails", 1)):
        seen = []
        for number in range(2 + TRIES):
            await elsewhere.send(channel, {"number": number})
            if channel == own and number >= 2:  # Now the process takes what comes.
                mailbox = inside.broker(layer).mailboxes.open(channel)
                await eventually(lambda box=mailbox: box.size)  # type: ignore[misc]
                # With its answer to that, which counts too.
                await eventually(lambda: is_blocked(own_layers.server))
            before = proxy.round_trips
            await take(layer, channel)
            seen.append(proxy.round_trips - before)
        assert min(seen) <= most
    await layers.close()
