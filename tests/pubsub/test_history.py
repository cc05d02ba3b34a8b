"""Groups that keep a history: what an outage can't take from them, and what they tell otherwise."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from support.proxy import TcpProxy
from support.pubsub_layers import (
    BACK,
    LOST,
    NOTICES,
    Layers,
    inside,
    kill_subscriptions,
    nothing_else,
    numbered,
    subscribed,
    take,
    take_many,
    within,
)
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from channels_redis_pubsub import RedisPubSubChannelLayer
    from embedded_server import EmbeddedServer
    from support.pubsub_layers import Message

GROUP = "chat.1"
HISTORY = {"history": {"chat.*": {"size": 100, "ttl": 60}}, "on_gap": "chat.gap"}


async def follow(layer: RedisPubSubChannelLayer, **options: Any) -> tuple[str, Any]:
    """Return a new channel that is a member of the group, and what `group_add` returned."""
    channel = await within(layer.new_channel())
    return channel, await within(layer.group_add(GROUP, channel, **options))


async def send(layer: RedisPubSubChannelLayer, messages: Sequence[Message]) -> None:
    """Send messages to the group, one after the other."""
    for message in messages:
        await within(layer.group_send(GROUP, message))


def plain(messages: Sequence[Message]) -> list[Message]:
    """Return messages without their positions, which each has to have."""
    return [
        {key: value for key, value in message.items() if key != "__asgi_position__"}
        for message in messages
        if message["__asgi_position__"]
    ]


@asynccontextmanager
async def away(proxy: TcpProxy) -> AsyncIterator[None]:
    """Cut all connections, and let clients connect again only at the end."""
    proxy.stall(new=True)
    proxy.cut()
    yield
    proxy.resume()


async def test_an_outage_loses_nothing(own_server: EmbeddedServer, own_layers: Layers) -> None:
    """Messages of an outage come in order, before the notice of the reconnect."""
    async with TcpProxy(own_server.port) as proxy:
        layer, sender = own_layers(hosts=[proxy.url], **HISTORY, **NOTICES), own_layers(**HISTORY)
        channel, _ = await follow(layer)
        messages = numbered(130)
        await send(sender, messages[:10])
        assert plain(await take_many(layer, channel, 10)) == messages[:10]
        async with away(proxy):
            assert await take(layer, channel) == LOST
            await send(sender, messages[10:110])
        assert plain(await take_many(layer, channel, 100)) == messages[10:110]
        assert await take(layer, channel) == BACK
        await send(sender, messages[110:])
        assert plain(await take_many(layer, channel, 20)) == messages[110:]
        assert layer.statistics().replayed == 100
        assert layer.statistics().unrecovered == 0
        await layer.close_pools()


async def test_a_killed_connection_loses_nothing_under_load(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
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
        assert kill_subscriptions(own_server)
        await send(sender, messages[number + 50 : number + 100])
        await eventually(lambda: subscribed(own_server, "asgi__group__"))
    await within(asyncio.gather(*receiving))
    assert plain(received[channel]) == messages
    assert plain(received[other]) == messages
    await nothing_else(layer, channel)


async def test_members_are_told_when_the_history_is_gone(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """After FLUSHALL in an outage, the notice of the gap comes first, and then what is new."""
    async with TcpProxy(own_server.port) as proxy:
        layer, sender = own_layers(hosts=[proxy.url], **HISTORY), own_layers(**HISTORY)
        channel, _ = await follow(layer)
        messages = numbered(4)
        await send(sender, messages[:1])
        assert plain([await take(layer, channel)]) == messages[:1]
        async with away(proxy):
            await send(sender, messages[1:2])
            with own_server.client() as client:
                client.flushall()
            await send(sender, messages[2:3])
        notice = await take(layer, channel)
        assert notice.pop("__asgi_position__")
        assert notice == {"type": "chat.gap", "group": GROUP, "recovered": False}
        assert plain([await take(layer, channel)]) == messages[2:3]
        await send(sender, messages[3:])
        assert plain([await take(layer, channel)]) == messages[3:]
        assert layer.statistics().unrecovered == 1
        await layer.close_pools()


async def test_members_are_told_when_the_server_comes_back_empty(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """A server that was killed has forgotten all, and each member learns it once."""
    layer, sender = own_layers(**HISTORY), own_layers(**HISTORY)
    channel, joined = await follow(layer)
    await send(sender, numbered(1))
    assert plain([await take(layer, channel)]) == numbered(1)
    own_server.kill()
    own_server.start()
    assert (await take(layer, channel))["type"] == "chat.gap"
    await send(sender, numbered(2))
    assert plain(await take_many(layer, channel, 2)) == numbered(2)
    _, again = await follow(layer, since=joined.position)
    assert not again.recovered
    await nothing_else(layer, channel)


async def test_flushed_history_is_told_also_without_an_outage(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """The first message after FLUSHALL comes with a notice, as others may be missing before it."""
    layer, sender = own_layers(**HISTORY), own_layers(**HISTORY)
    channel, _ = await follow(layer)
    await send(sender, numbered(1))
    assert plain([await take(layer, channel)]) == numbered(1)
    with own_server.client() as client:
        client.flushall()
    await send(sender, numbered(2))
    assert (await take(layer, channel))["type"] == "chat.gap"
    assert plain(await take_many(layer, channel, 2)) == numbered(2)


async def test_a_quiet_group_gets_no_notice(own_server: EmbeddedServer, own_layers: Layers) -> None:
    """When all messages have expired, the next one still shows that nothing is missing."""
    layer, sender = own_layers(**HISTORY), own_layers(**HISTORY)
    channel, _ = await follow(layer)
    messages = numbered(2)
    await send(sender, messages[:1])
    with own_server.client() as client:
        [stream] = [key for key in client.keys("*history*") if client.type(key) == b"stream"]
        assert 0 < client.ttl(stream) <= 60
        client.delete(stream)
    await send(sender, messages[1:])
    assert plain(await take_many(layer, channel, 2)) == messages
    _, joined = await follow(layer)
    _, again = await follow(own_layers(**HISTORY), since=joined.position)
    assert again == joined


async def test_a_browser_resumes_at_another_process(own_layers: Layers) -> None:
    """A channel with a position gets what it has missed before what is new, each once."""
    first, second, sender = (own_layers(**HISTORY) for _ in range(3))
    channel, _ = await follow(first)
    messages = numbered(8)
    await send(sender, messages[:2])
    [_, latest] = await take_many(first, channel, 2)
    await send(sender, messages[2:6])
    resumed, joined = await follow(second, since=latest["__asgi_position__"])
    assert joined.recovered
    await send(sender, messages[6:])
    assert plain(await take_many(second, resumed, 6)) == messages[2:]
    # Another one that has missed less, at a process that follows the group already.
    third, joined = await follow(second, since=joined.position)
    assert joined.recovered
    assert plain(await take_many(second, third, 2)) == messages[6:]
    for name in (resumed, third):
        await nothing_else(second, name)


async def test_a_position_before_the_first_message(own_layers: Layers) -> None:
    """A channel that joined when nothing had ever been sent resumes like all others."""
    layer, sender = own_layers(**HISTORY), own_layers(**HISTORY)
    _, joined = await follow(layer)
    assert joined.recovered
    await layer.close_pools()
    await send(sender, numbered(2))
    _, again = await follow(own_layers(**HISTORY), since=joined.position)
    assert again.recovered
    assert again.position != joined.position


@pytest.mark.parametrize("since", ["", "rubbish", "0-0.00000000", f"{2**64}-0.0123abcd", "é-1.x"])
async def test_an_unknown_position_is_not_recovered(own_layers: Layers, since: str) -> None:
    """Browsers may send anything: nothing is replayed, and the caller is told."""
    layer = own_layers(**HISTORY)
    await send(layer, numbered(3))
    channel, joined = await follow(layer, since=since)
    assert not joined.recovered
    await nothing_else(layer, channel)
    # With `rewind`, it gets the latest instead.
    channel, joined = await follow(layer, since=since, rewind=2)
    assert not joined.recovered
    assert plain(await take_many(layer, channel, 2)) == numbered(3)[1:]


async def test_newcomers_rewind(own_layers: Layers) -> None:
    """A newcomer gets the latest messages, at most as many as there are."""
    layer = own_layers(**HISTORY)
    early, _ = await follow(layer, rewind=5)
    await send(layer, numbered(3))
    late, joined = await follow(layer, rewind=5)
    assert joined.recovered
    assert plain(await take_many(layer, early, 3)) == numbered(3)
    assert plain(await take_many(layer, late, 3)) == numbered(3)
    two, _ = await follow(layer, rewind=2)
    assert plain(await take_many(layer, two, 2)) == numbered(3)[1:]
    for channel in (early, late, two):
        await nothing_else(layer, channel)


async def test_joining_again_repeats_nothing(own_layers: Layers) -> None:
    """A second `group_add` of a member returns its place and changes nothing."""
    layer = own_layers(**HISTORY)
    channel, _ = await follow(layer)
    await send(layer, numbered(2))
    again = await within(layer.group_add(GROUP, channel))
    assert again is not None
    assert again.recovered
    messages = await take_many(layer, channel, 2)
    assert again.position in {message["__asgi_position__"] for message in messages}
    await nothing_else(layer, channel)


async def test_equal_reads_of_one_turn_are_one(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """A thousand channels that resume at once ask the server ten times."""
    layer, sender = own_layers(**HISTORY), own_layers(**HISTORY)
    history = await within(sender.group_history(GROUP))
    await send(sender, numbered(3))
    channels = [await within(layer.new_channel()) for _ in range(1000)]
    with own_server.client() as client:
        client.config_resetstat()
    joined = await within(
        asyncio.gather(*(layer.group_add(GROUP, one, since=history.position) for one in channels))
    )
    assert all(one is not None and one.recovered for one in joined)
    with own_server.client() as client:
        assert client.info("commandstats")["cmdstat_xrange"]["calls"] == 10
    for channel in channels[::100]:
        assert plain(await take_many(layer, channel, 3)) == numbered(3)


async def test_messages_and_joins_at_once(own_layers: Layers) -> None:
    """Channels that join amid a stream of messages get each message after their position once."""
    layer, sender = own_layers(**HISTORY), own_layers(**HISTORY)
    start = (await within(sender.group_history(GROUP))).position
    messages = numbered(90)
    sending = asyncio.create_task(send(sender, messages))
    channels = []
    while not sending.done():
        channel, joined = await follow(layer, since=start)
        assert joined.recovered
        channels.append(channel)
    await within(sending)
    assert len(channels) > 1
    for channel in channels:
        assert plain(await take_many(layer, channel, len(messages))) == messages
        await nothing_else(layer, channel)


async def test_excluded_channels_get_no_replay(own_layers: Layers) -> None:
    """A message that leaves out a channel is not replayed to it either, and others get it."""
    layer = own_layers(**HISTORY)
    channel, joined = await follow(layer)
    await within(layer.group_send(GROUP, {"type": "mine"}, exclude=[channel]))
    await send(layer, numbered(1))
    await within(layer.group_add(GROUP, channel, since=joined.position))
    assert plain(await take_many(layer, channel, 2)) == numbered(1) * 2
    other, _ = await follow(layer, since=joined.position)
    assert plain(await take_many(layer, other, 2)) == [{"type": "mine"}, *numbered(1)]


async def test_a_process_without_the_option_understands_the_others(own_layers: Layers) -> None:
    """Rolling deployments: messages with a position reach processes that keep no history."""
    layer, sender = own_layers(), own_layers(**HISTORY)
    channel = await within(layer.new_channel())
    assert await within(layer.group_add(GROUP, channel)) is None
    await send(sender, numbered(2))
    assert plain(await take_many(layer, channel, 2)) == numbered(2)
    # And what it sends reaches the others, without a position.
    follower, _ = await follow(sender)
    await send(layer, numbered(1))
    assert await take(sender, follower) == numbered(1)[0]


async def test_a_lost_reply_sends_nothing_twice(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """A sender whose reply was lost is told so, and members get the message once."""
    async with TcpProxy(own_server.port) as proxy:
        layer, sender = own_layers(**HISTORY), own_layers(hosts=[proxy.url], **HISTORY)
        channel, _ = await follow(layer)
        await send(sender, numbered(1))
        loss = proxy.lose_reply(b"test.message")
        with pytest.raises(RedisConnectionError):
            await within(sender.group_send(GROUP, numbered(1)[0]))
        await within(loss.happened.wait())
        assert plain(await take_many(layer, channel, 2)) == numbered(1) * 2
        await nothing_else(layer, channel)
        await sender.close_pools()


async def test_a_server_that_forgets_scripts(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """SCRIPT FLUSH, or a promoted replica, disturbs neither senders nor readers."""
    layer = own_layers(**HISTORY)
    channel, joined = await follow(layer)
    with own_server.client() as client:
        client.script_flush()
    await send(layer, numbered(2))
    with own_server.client() as client:
        client.script_flush()
    other, _ = await follow(layer, since=joined.position)
    for name in (channel, other):
        assert plain(await take_many(layer, name, 2)) == numbered(2)


async def test_group_history_for_views(own_layers: Layers) -> None:
    """A view reads the latest messages, or those after a position, page by page."""
    layer = own_layers(**HISTORY)
    empty = await within(layer.group_history(GROUP))
    assert (empty.messages, empty.recovered) == ([], True)
    await send(layer, numbered(5))
    whole = await within(layer.group_history(GROUP))
    assert plain(whole.messages) == numbered(5)
    assert whole.position == whole.messages[-1]["__asgi_position__"]
    latest = await within(layer.group_history(GROUP, limit=2))
    assert (latest.messages, latest.position) == (whole.messages[3:], whole.position)
    page = await within(layer.group_history(GROUP, since=empty.position, limit=3))
    assert page.messages == whole.messages[:3]
    rest = await within(layer.group_history(GROUP, since=page.position))
    assert (rest.messages, rest.recovered) == (whole.messages[3:], True)
    unknown = await within(layer.group_history(GROUP, since="rubbish"))
    assert (unknown.messages, unknown.recovered) == ([], False)


async def test_groups_without_a_history_refuse_positions(layers: Layers) -> None:
    """Arguments that need a history are refused at once, with what to write instead."""
    layer = layers(**HISTORY)
    channel = await within(layer.new_channel())
    assert "history" in layer.extensions
    assert "history" not in layers().extensions
    for call in (
        layer.group_add("room", channel, since="1-1.0123abcd"),
        layer.group_add("room", channel, rewind=1),
        layer.group_history("room"),
    ):
        with pytest.raises(ValueError, match="the group 'room' keeps no history: add its name"):
            await within(call)
    with pytest.raises(TypeError, match="since must be a position as a str"):
        await within(layer.group_add(GROUP, channel, since=5))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rewind must be an integer from 1"):
        await within(layer.group_add(GROUP, channel, rewind=0))
    with pytest.raises(ValueError, match="'__asgi_position__' is reserved"):
        await within(layer.group_send(GROUP, {"type": "x", "__asgi_position__": "1-1.0"}))


async def test_followers_end_with_their_members(own_layers: Layers) -> None:
    """Nothing of a group stays in the process after its last member has left."""
    layer = own_layers(**HISTORY)
    channel, _ = await follow(layer)
    other, _ = await follow(layer)
    [client] = inside(layer)._loops.values()
    assert len(client.followers) == 1
    await within(layer.group_discard(GROUP, channel))
    assert len(client.followers) == 1
    await within(layer.group_discard(GROUP, other))
    assert len(client.followers) == 0
