"""The Pub/Sub layer while a node of the Cluster dies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_shared.config.hosts import parse_hosts
from channels_redis_shared.transport.cluster import Cluster
from support.cluster import command
from support.waiting import eventually

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from support.cluster import EmbeddedCluster
    from support.layers import Layers

OUTAGE = 15.0  # seconds; what takes two or three of them on a quiet machine


@pytest.mark.slow
@pytest.mark.parametrize(("sharded_pubsub", "count"), [(False, "NUMSUB"), (True, "SHARDNUMSUB")])
async def test_node_that_dies(
    sharded_pubsub: bool,  # noqa: FBT001
    count: str,
    replicated_cluster: EmbeddedCluster,
    layers: Layers,
) -> None:
    """Its listeners are notified and receive again at another node, and so do all groups."""
    options = {"on_disconnect": "lost", "on_reconnect": "back", "sharded_pubsub": sharded_pubsub}
    listener, sender = (
        layers(RedisPubSubChannelLayer, replicated_cluster.host, **options) for _ in "ls"
    )
    channel = await listener.new_channel()
    await listener.group_add("room", channel)
    [node] = [
        node
        for node in replicated_cluster.nodes
        if command(node, "PUBSUB", count, channel) == [channel.encode(), 1]
    ]
    node.kill()
    for expected in ("lost", "back"):
        message = await asyncio.wait_for(listener.receive(channel), OUTAGE)
        assert message == {"type": expected}

    async def sent() -> bool:
        # The first may go out before the connection's end is known: then the caller is told.
        try:
            await sender.send(channel, {"type": "direct"})
            await sender.group_send("room", {"type": "group"})
        except RedisError:
            return False
        return True

    await eventually(sent, timeout=OUTAGE)
    types: set[str] = set()
    while types != {"direct", "group"}:
        types.add((await asyncio.wait_for(listener.receive(channel), OUTAGE))["type"])


async def test_all_parts_of_a_process_publish_through_one_node(
    replicated_cluster: EmbeddedCluster,
) -> None:
    """They choose it at the same time, at first and when it has died: a sender may use several."""
    (host,) = parse_hosts([replicated_cluster.host])
    cluster = Cluster(host)
    for _ in range(2):
        [node] = set(await asyncio.gather(*(cluster.working_node() for _ in range(20))))
        next(server for server in replicated_cluster.nodes if server.port == node[1]).kill()


async def test_publisher_whose_node_dies(
    replicated_cluster: EmbeddedCluster, layers: Layers
) -> None:
    """It continues at another node, without waiting for a replica to take over."""
    host = replicated_cluster.host
    listener, sender = (layers(RedisPubSubChannelLayer, host) for _ in "ls")
    channel = await listener.new_channel()
    await sender.send(channel, {"type": "before"})
    await asyncio.wait_for(listener.receive(channel), OUTAGE)
    [node] = [node for node in replicated_cluster.nodes if b"cmd=publish" in clients(node)]
    node.kill()
    # One that had the listener as well lets it hear again first.
    await eventually(lambda: heard(replicated_cluster, channel))

    async def sent() -> bool:
        # The first may go out before the connection's end is known: then the caller is told.
        try:
            await sender.send(channel, {"type": "after"})
        except RedisConnectionError:
            return False
        return True

    await eventually(sent)
    assert await asyncio.wait_for(listener.receive(channel), OUTAGE) == {"type": "after"}


def clients(node: EmbeddedServer) -> bytes:
    """Return the list of a node's connections."""
    listed: bytes = command(node, "CLIENT", "LIST")
    return listed


def heard(cluster: EmbeddedCluster, channel: str) -> bool:
    """Return whether a channel has a listener, at any living node."""
    living = [node for node in cluster.nodes if node.pid is not None]
    return any(command(node, "PUBSUB", "NUMSUB", channel)[1] for node in living)
