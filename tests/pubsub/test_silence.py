"""A connection that goes silent without closing is found, replaced, and reported."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from channels_redis_pubsub import subscriber
from support.counting import count_commands
from support.messages import joined, take, take_many, within
from support.pubsub_layers import (
    BACK,
    LOST,
    NOTICES,
    Layers,
    connections,
    inside,
    nothing_else,
    subscribed,
    waiting,
)
from support.waiting import eventually

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from support.proxy import TcpProxy


FOUND_WITHIN = 30.0  # seconds


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find silence within a second or two instead of 25."""
    monkeypatch.setattr("channels_redis_pubsub.subscriber.PROBE_INTERVAL", 0.6)
    monkeypatch.setattr("channels_redis_pubsub.subscriber.SILENCE_GRACE", 0.5)


def test_silence_is_found_in_time() -> None:
    """A network that swallows everything is found within 30 s, a stall of 10 s is waited for."""
    assert subscriber.SILENCE_GRACE > 10
    assert subscriber.PROBE_INTERVAL + subscriber.SILENCE_GRACE < FOUND_WITHIN


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("silent", ["requests", "replies", "both"])
async def test_silent_connection_is_replaced(
    proxy: TcpProxy, own_layers: Layers, silent: str
) -> None:
    """With both notices, also if only one direction is lost."""
    layer = own_layers(hosts=[proxy.url], **NOTICES)
    channel = await joined(layer, "room")
    proxy.stall(requests=silent != "replies", replies=silent != "requests")
    assert await take_many(layer, channel, 2) == [LOST, BACK]
    await within(own_layers().group_send("room", {"type": "hello"}))
    assert await take(layer, channel) == {"type": "hello"}


@pytest.mark.usefixtures("impatient")
async def test_late_answers_of_a_silent_connection_are_not_heard(
    proxy: TcpProxy, own_layers: Layers
) -> None:
    """Data that the network releases late is not delivered twice."""
    layer = own_layers(hosts=[proxy.url], **NOTICES)
    channel = await joined(layer, "room")
    proxy.stall()
    sender = own_layers()
    await within(sender.group_send("room", {"type": "lost"}))
    assert await take_many(layer, channel, 2) == [LOST, BACK]
    proxy.resume()
    await within(sender.group_send("room", {"type": "hello"}))
    assert await take(layer, channel) == {"type": "hello"}
    await nothing_else(layer, channel)


@pytest.mark.usefixtures("impatient")
async def test_frozen_server_is_an_outage(own_server: EmbeddedServer, own_layers: Layers) -> None:
    """A server that answers nothing, not even new connections, and then recovers."""
    layer = own_layers(**NOTICES)
    channel = await joined(layer, "room")
    own_server.pause()
    try:
        assert await take(layer, channel) == LOST
    finally:
        own_server.resume()
    assert await take(layer, channel) == BACK
    await within(layer.group_send("room", {"type": "hello"}))
    assert await take(layer, channel) == {"type": "hello"}


async def test_server_that_stalls_loses_nothing(
    own_server: EmbeddedServer, own_layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages published while it stalls, for less than the grace, arrive; without a notice."""
    monkeypatch.setattr("channels_redis_pubsub.subscriber.PROBE_INTERVAL", 0.5)
    layer, sender = own_layers(**NOTICES), own_layers()
    channel = await joined(layer, "room")
    await within(sender.group_send("room", {"type": "hello"}))
    assert await take(layer, channel) == {"type": "hello"}
    receiver = await waiting(layer, channel)
    own_server.pause()
    try:
        done, _ = await asyncio.wait([receiver], timeout=2)
        assert not done
        sending = asyncio.create_task(sender.group_send("room", {"type": "late"}))
        done, _ = await asyncio.wait([receiver], timeout=1)
        assert not done
    finally:
        own_server.resume()
    await within(sending)
    assert await within(receiver) == {"type": "late"}


@pytest.mark.usefixtures("impatient")
async def test_idle_process_sends_only_probes(
    own_server: EmbeddedServer, own_layers: Layers
) -> None:
    """An idle connection stays through many probes, with subscriptions and without."""
    layer = own_layers(**NOTICES)
    channel = await layer.new_channel()
    receiver = await waiting(layer, channel)
    with count_commands(own_server) as counted:
        done, _ = await asyncio.wait([receiver], timeout=3)
    assert not done
    assert counted.connections == 0
    assert set(counted.commands) == {"ping"}
    assert counted.commands["ping"] >= 2
    sender = own_layers()
    await within(sender.send(channel, {"type": "hello"}))
    await within(sender.close_pools())
    assert await within(receiver) == {"type": "hello"}
    inside(layer).close(channel)
    await eventually(lambda: not subscribed(own_server))
    with count_commands(own_server) as counted:
        # The one for commands stays: the process looks there whether the server is in charge.
        await eventually(lambda: len(connections(own_server)) == 1)
    assert counted.commands["ping"] >= 2
