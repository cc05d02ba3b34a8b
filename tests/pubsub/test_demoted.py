"""A former master that keeps its connections, behind an address that leads to the new one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asgiref.sync import async_to_sync

from channels_redis_pubsub._shared.transport.connector import LOOK_INTERVAL
from channels_redis_pubsub.subscriber import PROBE_INTERVAL
from embedded_server import EmbeddedServer
from support.messages import joined, take, take_many, within
from support.pubsub_layers import BACK, LOST, NOTICES, Layers, subscribed
from support.waiting import eventually

if TYPE_CHECKING:
    import pytest

    from support.proxy import TcpProxy

HELLO = {"type": "hello"}
FOUND_WITHIN = 30.0  # seconds


def fail_over(old: EmbeddedServer, new: EmbeddedServer, proxy: TcpProxy) -> None:
    """Make the old server a replica of the new one, to which new connections lead."""
    with old.client() as client:
        client.replicaof("127.0.0.1", new.port)
    proxy.server_port = new.port


def test_demotion_is_found_in_time() -> None:
    """The look and the check after it take less than 30 s together."""
    assert LOOK_INTERVAL + PROBE_INTERVAL < FOUND_WITHIN


async def test_open_connections_are_replaced(
    own_layers: Layers, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members are told, and what they and synchronous callers send reaches everyone."""
    monkeypatch.setattr("channels_redis_pubsub._shared.transport.connector.LOOK_INTERVAL", 0.1)
    monkeypatch.setattr("channels_redis_pubsub._shared.background.LOOK_INTERVAL", 0.1)
    monkeypatch.setattr("channels_redis_pubsub.subscriber.PROBE_INTERVAL", 0.1)
    layer = own_layers(hosts=[proxy.url], **NOTICES)
    channel = await joined(layer, "room")
    caller = own_layers(hosts=[proxy.url])
    await within(layer.group_send("room", HELLO))
    await asyncio.to_thread(async_to_sync(caller.group_send), "room", HELLO)
    assert await take_many(layer, channel, 2) == [HELLO, HELLO]
    with EmbeddedServer() as new:
        member_layer = own_layers(hosts=[new.url])
        member = await joined(member_layer, "room")
        fail_over(own_layers.server, new, proxy)
        assert await take_many(layer, channel, 2) == [LOST, BACK]
        await within(layer.group_send("room", HELLO))
        await asyncio.to_thread(async_to_sync(caller.group_send), "room", {"type": "synchronous"})
        for listener, name in ((layer, channel), (member_layer, member)):
            assert await take_many(listener, name, 2) == [HELLO, {"type": "synchronous"}]
        await asyncio.gather(*(each.close_pools() for each in (layer, member_layer)))


async def test_refused_write_finds_it(
    own_layers: Layers, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command connection is replaced before a look could ask: the subscriber's is, too."""
    monkeypatch.setattr("channels_redis_pubsub.subscriber.PROBE_INTERVAL", 0.1)
    layer = own_layers(hosts=[proxy.url], history={"kept": {"size": 5, "ttl": 60}}, **NOTICES)
    channel = await joined(layer, "room")
    with EmbeddedServer() as new:
        fail_over(own_layers.server, new, proxy)
        await within(layer.group_send("kept", HELLO))
        assert await take_many(layer, channel, 2) == [LOST, BACK]
        assert subscribed(new)
        await layer.close_pools()


async def test_replica_that_hosts_name_stays(
    own_layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was never a master: that is what the doctor is for."""
    monkeypatch.setattr("channels_redis_pubsub._shared.transport.connector.LOOK_INTERVAL", 0.05)
    monkeypatch.setattr("channels_redis_pubsub.subscriber.PROBE_INTERVAL", 0.05)
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
