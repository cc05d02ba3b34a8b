"""Consumers are notified when their process loses Redis, and when all is restored."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from support.messages import cancel, joined, take, take_many, within
from support.pubsub_layers import (
    BACK,
    LOST,
    NOTICES,
    Layers,
    kill_subscriptions,
    nothing_else,
    subscribed,
    waiting,
)
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded_server import EmbeddedServer
    from support.proxy import TcpProxy


class Fault(NamedTuple):
    """The beginning of an outage, and the end of one that lasts."""

    begin: Callable[[EmbeddedServer, TcpProxy], object]
    end: Callable[[EmbeddedServer, TcpProxy], object] = lambda _server, _proxy: None
    holds_messages: bool = False


def silence(*, requests: bool = True, replies: bool = True) -> Fault:
    """Return a network that swallows data, and lets go of it when all have given up on it."""
    return Fault(
        lambda _, proxy: proxy.stall(requests=requests, replies=replies),
        lambda _, proxy: proxy.resume(),
        holds_messages=replies,
    )


FAULTS = {
    "killed connection": Fault(lambda server, _: kill_subscriptions(server)),
    "reset connection": Fault(lambda _, proxy: proxy.reset()),
    "server restarts": Fault(lambda server, _: server.restart(empty=False)),
    "server comes back empty": Fault(lambda server, _: server.restart()),
    "server is away": Fault(lambda server, _: server.kill(), lambda server, _: server.start()),
    "server is frozen": Fault(lambda server, _: server.pause(), lambda server, _: server.resume()),
    "requests get lost": silence(replies=False),
    "replies get lost": silence(requests=False),
    "both get lost": silence(),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_every_channel_is_told(
    proxy: TcpProxy, own_layers: Layers, fault: Fault, protocol: int
) -> None:
    """Each gets both notices, in order and once, and then messages, but none that comes late."""
    layer = own_layers(hosts=[{"address": proxy.url, "protocol": protocol}], **NOTICES)
    channels = [*[await joined(layer, "room") for _ in range(20)], "jobs"]
    receivers = [await waiting(layer, channel) for channel in channels]
    fault.begin(own_layers.server, proxy)
    if fault.holds_messages:
        await within(own_layers().group_send("room", {"type": "late"}))
    for receiver in receivers:
        notice = await within(receiver)
        assert notice == LOST
        notice["seen"] = True  # by this consumer alone
    fault.end(own_layers.server, proxy)
    for channel in channels:
        assert await take(layer, channel) == BACK
    await within(layer.group_add("room", "jobs"))
    await within(own_layers().group_send("room", {"type": "hello"}))
    for channel in channels:
        assert await take(layer, channel) == {"type": "hello"}
        await nothing_else(layer, channel)


async def test_message_sent_on_reconnecting_arrives(own_layers: Layers) -> None:
    """Another process's answer to a consumer's request in `on_reconnect` arrives."""
    layer, other = own_layers(**NOTICES), own_layers()
    groups = [f"room-{number}" for number in range(200)]
    channels = [await joined(layer, group) for group in groups]
    for _ in range(3):
        kill_subscriptions(own_layers.server)
        assert await take_many(layer, channels[-1], 2) == [LOST, BACK]
        for group in groups:
            await within(other.group_send(group, {"type": "resync"}))
        for channel in channels[:-1]:
            assert await take_many(layer, channel, 3) == [LOST, BACK, {"type": "resync"}]
        assert await take(layer, channels[-1]) == {"type": "resync"}


async def test_channel_made_after_the_loss_gets_no_notice(own_layers: Layers) -> None:
    """Only channels that were notified of an outage are notified of its end."""
    layer = own_layers(**NOTICES)
    old = await layer.new_channel()
    own_layers.server.kill()
    assert await take(layer, old) == LOST
    making = asyncio.create_task(layer.new_channel())
    own_layers.server.start()
    new = await within(making)
    assert await take(layer, old) == BACK
    await nothing_else(layer, new)


async def test_channel_made_in_an_outage_is_told_of_the_next_loss(
    proxy: TcpProxy, own_layers: Layers
) -> None:
    """It receives while other subscriptions are still being restored, so it has to know."""
    layer, other = own_layers(hosts=[proxy.url], **NOTICES), own_layers()
    old = await layer.new_channel()
    own_layers.server.kill()
    assert await take(layer, old) == LOST
    new = asyncio.create_task(layer.receive("made-first"))
    newer = asyncio.create_task(layer.receive("made-second"))
    await asyncio.sleep(0)
    proxy.holds.append(b"made-second")
    own_layers.server.start()
    await eventually(lambda: "made-second" in subscribed(own_layers.server))
    assert await take(layer, old) == BACK
    proxy.cut()
    proxy.resume()
    assert await within(new) == LOST
    assert await take(layer, "made-first") == BACK
    await within(other.send("made-first", {"type": "hello"}))
    assert await take(layer, "made-first") == {"type": "hello"}
    await cancel(newer)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"on_disconnect": "redis.lost"}, [LOST]),
        ({"on_reconnect": "redis.back"}, [BACK]),
    ],
    ids=["neither", "loss only", "return only"],
)
async def test_notices_are_optional(
    own_layers: Layers, options: dict[str, Any], expected: list[dict[str, str]]
) -> None:
    """Without an option its notice is not sent; the layer still reconnects."""
    layer = own_layers(**options)
    channel = await joined(layer, "room")
    assert kill_subscriptions(own_layers.server) == 1
    # Returns when the new connection hears this, too.
    await within(layer.group_add("another", channel))
    await within(own_layers().group_send("room", {"type": "hello"}))
    assert await take_many(layer, channel, len(expected) + 1) == [*expected, {"type": "hello"}]
