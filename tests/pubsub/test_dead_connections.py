"""Connections that go silent or lead to a former master: they are found, replaced and reported."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from asgiref.sync import async_to_sync

from channels_redis_pubsub._shared.transport.connector import LOOK_INTERVAL
from channels_redis_pubsub.subscriber import PROBE_INTERVAL, SILENCE_GRACE
from support.counting import count_commands
from support.messages import joined, take, take_many, within
from support.pubsub_layers import BACK, LOST, NOTICES, Layers, subscribed, waiting
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded_server import EmbeddedServer
    from support.proxy import TcpProxy

HELLO = {"type": "hello"}
FOUND_WITHIN = 30.0  # seconds


@pytest.fixture
def frequent_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let layers look for a demotion more often than they do."""
    monkeypatch.setattr("channels_redis_pubsub._shared.transport.connector.LOOK_INTERVAL", 0.1)
    monkeypatch.setattr("channels_redis_pubsub._shared.background.LOOK_INTERVAL", 0.1)


def test_found_in_time() -> None:
    """Silence, or a look and the check after it, take less than 30 s; a stall of 10 s is none."""
    assert SILENCE_GRACE > 10
    assert PROBE_INTERVAL + SILENCE_GRACE < FOUND_WITHIN
    assert PROBE_INTERVAL + LOOK_INTERVAL < FOUND_WITHIN


@pytest.mark.usefixtures("frequent_probes")
async def test_server_that_stalls_loses_nothing(own_layers: Layers) -> None:
    """Messages published while it stalls, for less than the grace, arrive; without a notice."""
    layer, sender = own_layers(**NOTICES), own_layers()
    channel = await joined(layer, "room")
    await within(sender.group_send("room", HELLO))
    assert await take(layer, channel) == HELLO
    receiver = await waiting(layer, channel)
    own_layers.server.pause()
    try:
        done, _ = await asyncio.wait([receiver], timeout=2)
        assert not done
        sending = asyncio.create_task(sender.group_send("room", {"type": "late"}))
        done, _ = await asyncio.wait([receiver], timeout=1)
        assert not done
    finally:
        own_layers.server.resume()
    await within(sending)
    assert await within(receiver) == {"type": "late"}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("protocol", [2, 3])
async def test_idle_process_sends_only_probes(own_layers: Layers, protocol: int) -> None:
    """An idle connection stays through many probes."""
    layer = own_layers(hosts=[{"address": own_layers.server.url, "protocol": protocol}], **NOTICES)
    channel = await layer.new_channel()
    receiver = await waiting(layer, channel)
    with count_commands(own_layers.server) as counted:
        done, _ = await asyncio.wait([receiver], timeout=3)
    assert not done
    assert counted.connections == 0
    assert set(counted.commands) == {"ping"}
    assert counted.commands["ping"] >= 2
    sender = own_layers()
    await within(sender.send(channel, HELLO))
    assert await within(receiver) == HELLO


def fail_over(old: EmbeddedServer, new: EmbeddedServer, proxy: TcpProxy) -> None:
    """Make the old server a replica of the new one, to which new connections lead."""
    with old.client() as client:
        client.replicaof("127.0.0.1", new.port)
    proxy.server_port = new.port


@pytest.mark.usefixtures("frequent_looks", "frequent_probes")
async def test_open_connections_are_replaced(
    proxy: TcpProxy, own_layers: Layers, start_server: Callable[..., EmbeddedServer]
) -> None:
    """Members are told, and what they and synchronous callers send reaches everyone."""
    layer, caller = own_layers(hosts=[proxy.url], **NOTICES), own_layers(hosts=[proxy.url])
    channel = await joined(layer, "room")
    await within(layer.group_send("room", HELLO))
    await asyncio.to_thread(async_to_sync(caller.group_send), "room", HELLO)
    assert await take_many(layer, channel, 2) == [HELLO, HELLO]
    new = start_server()
    member_layer = own_layers(hosts=[new.url])
    member = await joined(member_layer, "room")
    fail_over(own_layers.server, new, proxy)
    assert await take_many(layer, channel, 2) == [LOST, BACK]
    await within(layer.group_send("room", HELLO))
    await asyncio.to_thread(async_to_sync(caller.group_send), "room", {"type": "synchronous"})
    for listener, name in ((layer, channel), (member_layer, member)):
        assert await take_many(listener, name, 2) == [HELLO, {"type": "synchronous"}]


@pytest.mark.usefixtures("frequent_probes")
async def test_refused_write_finds_a_demotion(
    proxy: TcpProxy, own_layers: Layers, start_server: Callable[..., EmbeddedServer]
) -> None:
    """The command connection is replaced before a look could ask: the subscriber's is, too."""
    layer = own_layers(hosts=[proxy.url], history={"kept": {"size": 5, "ttl": 60}}, **NOTICES)
    channel, new = await joined(layer, "room"), start_server()
    fail_over(own_layers.server, new, proxy)
    await within(layer.group_send("kept", HELLO))
    assert await take_many(layer, channel, 2) == [LOST, BACK]
    assert subscribed(new)


@pytest.mark.usefixtures("frequent_looks", "frequent_probes")
async def test_replica_that_hosts_name_stays(own_layers: Layers) -> None:
    """It was never a master: that is what the doctor is for."""
    client = own_layers.server.client()
    client.replicaof("127.0.0.1", 1)

    async def called_thrice(name: str) -> None:
        def calls() -> int:
            return int(client.info("commandstats").get(name, {"calls": 0})["calls"])

        enough = calls() + 3
        await eventually(lambda: calls() >= enough)

    layer = own_layers(**NOTICES)
    channel = await joined(layer, "room")
    await called_thrice("cmdstat_hello")  # looks
    await called_thrice("cmdstat_ping")  # checks of the subscriber
    await within(layer.group_send("room", HELLO))
    assert await take(layer, channel) == HELLO
