"""The Pub/Sub layer while a node of the Cluster dies."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_pubsub.subscriber import SILENCE_GRACE
from channels_redis_shared.config.hosts import parse_hosts
from channels_redis_shared.transport.cluster import Cluster
from support.cluster import command, listening_node, node_id
from support.layers import succeeds
from support.messages import take
from support.waiting import eventually

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from support.cluster import EmbeddedCluster
    from support.layers import Layers

OUTAGE = 15.0  # seconds; what takes two or three of them on a quiet machine


@pytest.mark.slow
async def test_node_that_dies(replicated_cluster: EmbeddedCluster, layers: Layers) -> None:
    """Its listeners are notified and receive again at another node, and so do all groups."""
    options = {"on_disconnect": "lost", "on_reconnect": "back"}
    listener, sender = (
        layers(RedisPubSubChannelLayer, replicated_cluster.host, **options) for _ in "ls"
    )
    channel = await listener.new_channel()
    await listener.group_add("room", channel)
    node = listening_node(replicated_cluster, channel)
    node.kill()
    for expected in ("lost", "back"):
        message = await take(listener, channel)
        assert message == {"type": expected}
    # One may fail before the end of the connection is known, and arrive nevertheless.
    for send in (
        partial(sender.send, channel, {"type": "direct"}),
        partial(sender.group_send, "room", {"type": "group"}),
    ):
        await eventually(partial(succeeds, send), timeout=OUTAGE)
    types: set[str] = set()
    while types != {"direct", "group"}:
        types.add((await take(listener, channel))["type"])


async def test_all_parts_of_a_process_publish_through_one_node(
    own_cluster: EmbeddedCluster,
) -> None:
    """They choose it at the same time, at first and when it has died: a sender may use several."""
    (host,) = parse_hosts([own_cluster.host])
    cluster = Cluster(host)
    alive = set(own_cluster.nodes)
    for _ in range(2):
        connections = await asyncio.gather(*(cluster.open() for _ in range(20)))
        [used] = [server for server in alive if len(server.client().client_list()) >= 20]
        for connection in connections:
            connection.close()
        alive.remove(used)
        used.kill()


@pytest.fixture
async def listening(
    own_cluster: EmbeddedCluster, layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, str, EmbeddedServer, Any]:
    """Return a layer that looks often, its channel in a room, the node it uses, and a sender."""
    for name, seconds in (
        ("_shared.transport.connector.LOOK_INTERVAL", 0.2),
        ("subscriber.BUS_PROBE_INTERVAL", 0.2),
        ("subscriber.BUS_SILENCE_GRACE", 0.5),
    ):
        monkeypatch.setattr(f"channels_redis_pubsub.{name}", seconds)
    options = {"on_disconnect": "lost", "on_reconnect": "back"}
    layer = layers(RedisPubSubChannelLayer, own_cluster.host, **options)
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    node = listening_node(own_cluster, channel)
    [other, *_] = [each.port for each in own_cluster.nodes if each is not node]
    sender = layers(RedisPubSubChannelLayer, {"cluster": [("127.0.0.1", other)]})
    return layer, channel, node, sender


async def test_node_that_is_removed(
    own_cluster: EmbeddedCluster, listening: tuple[Any, str, EmbeddedServer, Any]
) -> None:
    """It still answers, but its members are notified, and hear and are heard again."""
    layer, channel, node, sender = listening
    name = node_id(node)
    command(node, "CLUSTER", "RESET", "SOFT")
    for each in own_cluster.nodes:
        if each is not node:
            command(each, "CLUSTER", "FORGET", name)
    for expected in ("lost", "back"):
        assert await take(layer, channel) == {"type": expected}
    await sender.group_send("room", {"type": "hello"})
    assert await take(layer, channel) == {"type": "hello"}
    member = await sender.new_channel()
    await sender.group_add("room", member)
    await layer.group_send("room", {"type": "answer"})
    assert await take(sender, member) == {"type": "answer"}


async def test_node_that_stalls(listening: tuple[Any, str, EmbeddedServer, Any]) -> None:
    """Members are notified long before others drop messages; what was kept for the node arrives."""
    layer, channel, node, sender = listening
    node.pause()
    assert await asyncio.wait_for(layer.receive(channel), SILENCE_GRACE / 2) == {"type": "lost"}
    await sender.group_send("room", {"type": "kept"})
    node.resume()
    heard = [await take(layer, channel) for _ in range(2)]
    assert sorted(message["type"] for message in heard) == ["back", "kept"]
    await layer.group_send("room", {"type": "hello"})
    assert await take(layer, channel) == {"type": "hello"}
