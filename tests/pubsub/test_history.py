"""Groups that keep a history: what an outage can't take from them, and what they tell otherwise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ResponseError

from support.histories import GROUP, HISTORY, follow, plain, send
from support.messages import numbered, take, take_many, within
from support.pubsub_layers import (
    BACK,
    LOST,
    NOTICES,
    Layers,
    inside,
    kill_subscriptions,
    nothing_else,
    subscribed,
)
from support.waiting import eventually

if TYPE_CHECKING:
    from support.messages import Message
    from support.proxy import TcpProxy


async def test_an_outage_loses_nothing(proxy: TcpProxy, own_layers: Layers) -> None:
    """Messages of an outage come in order, before the notice of the reconnect."""
    layer, sender = own_layers(hosts=[proxy.url], **HISTORY, **NOTICES), own_layers(**HISTORY)
    channel, _ = await follow(layer)
    messages = numbered(130)
    await send(sender, messages[:10])
    assert plain(await take_many(layer, channel, 10)) == messages[:10]
    proxy.stall(new=True)
    proxy.cut()
    assert await take(layer, channel) == LOST
    await send(sender, messages[10:110])
    proxy.resume()
    assert plain(await take_many(layer, channel, 100)) == messages[10:110]
    assert await take(layer, channel) == BACK
    await send(sender, messages[110:])
    assert plain(await take_many(layer, channel, 20)) == messages[110:]
    assert layer.statistics().replayed == 100
    assert layer.statistics().unrecovered == 0


async def test_a_killed_connection_loses_nothing_under_load(own_layers: Layers) -> None:
    """While a sender never stops, killed subscriptions lose nothing and repeat nothing."""
    layer, sender = own_layers(**HISTORY), own_layers(**HISTORY)
    channel, _ = await follow(layer)
    other, _ = await follow(layer)
    messages = numbered(600)
    received: dict[str, list[Message]] = {}

    async def receive(name: str) -> None:
        received[name] = await take_many(layer, name, len(messages))

    receiving = [asyncio.create_task(receive(name)) for name in (channel, other)]
    for number in range(0, len(messages), 100):
        await send(sender, messages[number : number + 50])
        assert kill_subscriptions(own_layers.server)
        await send(sender, messages[number + 50 : number + 100])
        await eventually(lambda: subscribed(own_layers.server, "asgi__group__"))
    await within(asyncio.gather(*receiving))
    assert plain(received[channel]) == messages
    assert plain(received[other]) == messages
    await nothing_else(layer, channel)


async def test_a_quiet_group_gets_no_notice(own_layers: Layers) -> None:
    """When all messages have expired, the next one still shows that nothing is missing."""
    layer, sender = own_layers(**HISTORY), own_layers(**HISTORY)
    channel, _ = await follow(layer)
    messages = numbered(2)
    await send(sender, messages[:1])
    with own_layers.server.client() as client:
        [stream] = [key for key in client.keys("*history*") if client.type(key) == b"stream"]
        assert 0 < client.ttl(stream) <= 60
        client.delete(stream)
    await send(sender, messages[1:])
    assert plain(await take_many(layer, channel, 2)) == messages
    _, joined = await follow(layer)
    _, again = await follow(own_layers(**HISTORY), since=joined.position)
    assert again == joined


async def test_one_read_is_for_all_that_wait(own_layers: Layers) -> None:
    """A thousand channels that resume at once ask the server twice."""
    layer, sender = own_layers(**HISTORY), own_layers(**HISTORY)
    history = await within(sender.group_history(GROUP))
    await send(sender, numbered(3))
    channels = [await within(layer.new_channel()) for _ in range(1000)]
    # Opens the command connections.
    await within(layer.group_add("chat.2", channels[0]))
    with own_layers.server.client() as client:
        client.config_resetstat()
    joined = await within(
        asyncio.gather(*(layer.group_add(GROUP, one, since=history.position) for one in channels))
    )
    assert all(one is not None and one.recovered for one in joined)
    with own_layers.server.client() as client:
        assert client.info("commandstats")["cmdstat_xrange"]["calls"] == 2
    for channel in channels[::100]:
        assert plain(await take_many(layer, channel, 3)) == numbered(3)


async def test_a_history_that_can_not_be_read(own_layers: Layers) -> None:
    """A join raises the server's error and leaves nothing behind; members learn of the gap."""
    layer = own_layers(**HISTORY)
    channel = await within(layer.new_channel())
    position = "asgi$pubsub.position{asgi__group__chat.1}"
    with own_layers.server.client() as client:
        client.lpush(position, "wrong")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await within(layer.group_add(GROUP, channel))
        assert len(inside(layer).followers) == 0
        client.delete(position)
        await within(layer.group_add(GROUP, channel))
        await send(layer, numbered(1))
        assert plain([await take(layer, channel)]) == numbered(1)
        client.delete(position)
        client.lpush(position, "wrong")
        kill_subscriptions(own_layers.server)
        assert (await take(layer, channel))["type"] == "chat.gap"
        client.delete(position)
    await send(layer, numbered(2))
    assert plain(await take_many(layer, channel, 2)) == numbered(2)


async def test_an_outage_while_the_first_member_joins(proxy: TcpProxy, own_layers: Layers) -> None:
    """Messages after the join come when the connection is back, not only with a later one."""
    layer, sender = own_layers(hosts=[proxy.url], **HISTORY, **NOTICES), own_layers(**HISTORY)
    channel = await within(layer.new_channel())
    # Opens the command connections.
    await within(layer.group_add("chat.2", channel))
    subscriber, commands = proxy.connections
    commands.stall()
    joining = asyncio.create_task(layer.group_add(GROUP, channel))
    await eventually(lambda: "asgi__group__chat.1" in subscribed(own_layers.server))
    # On the same connection: returns when the layer has been told of both.
    await within(layer.new_channel())
    proxy.stall(new=True)
    subscriber.cut()
    assert await take(layer, channel) == LOST
    commands.resume()
    await within(joining)
    await send(sender, numbered(1))
    proxy.resume()
    assert plain([await take(layer, channel)]) == numbered(1)
    assert await take(layer, channel) == BACK


async def test_a_channel_that_leaves_while_it_joins(proxy: TcpProxy, own_layers: Layers) -> None:
    """The group is forgotten when the read for it has ended."""
    layer = own_layers(hosts=[proxy.url], **HISTORY)
    channel = await within(layer.new_channel())
    # Opens the command connections.
    await within(layer.group_add("chat.2", channel))
    _, commands = proxy.connections
    commands.stall()
    joining = asyncio.create_task(layer.group_add(GROUP, channel))
    await eventually(lambda: len(inside(layer).followers) == 2)
    await layer.group_discard(GROUP, channel)
    commands.resume()
    await within(joining)
    assert len(inside(layer).followers) == 1
