"""Entries of `hosts` for a Cluster, and connections to its nodes."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from channels_redis_queue import RedisChannelLayer
from channels_redis_shared.config.hosts import parse_hosts
from channels_redis_shared.transport.cluster import Cluster
from support.cluster import EmbeddedCluster, command
from support.messages import numbered, take_numbers, within

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from support.layers import LayerClass, Layers


async def test_one_node_is_enough_to_find_the_others(
    layer_class: LayerClass, redis_cluster: EmbeddedCluster, layers: Layers
) -> None:
    """Nodes that are not written in the entry are used, and those that are away do no harm."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = unused.getsockname()
        host = {"cluster": [dead, redis_cluster.addresses[0]]}
        layer = layers(layer_class, host)
        channels = [await layer.new_channel() for _ in range(20)]
        for number, channel in enumerate(channels):
            await layer.group_add(f"group-{number}", channel)
        for number in range(20):
            await layer.group_send(f"group-{number}", {"type": "x", "number": number})
        received = [await asyncio.wait_for(layer.receive(channel), 10) for channel in channels]
    assert [message["number"] for message in received] == list(range(20))


async def test_cluster_beside_a_server(
    layer_class: LayerClass,
    redis_cluster: EmbeddedCluster,
    redis_server: EmbeddedServer,
    layers: Layers,
) -> None:
    """A Cluster is one shard: channels and groups of both arrive, once."""
    hosts = [redis_cluster.host, redis_server.url]
    here, there = (layers(layer_class, *hosts, capacity=1000) for _ in range(2))
    channels = [await here.new_channel() for _ in range(25)]
    groups = [f"group-{number}" for number in range(8)]
    for number, channel in enumerate(channels):
        await here.group_add(groups[number % len(groups)], channel)
    for message in numbered(5):
        await within(asyncio.gather(*(there.group_send(group, message) for group in groups)))
        await within(asyncio.gather(*(there.send(channel, message) for channel in channels)))
    for channel in channels:
        numbers = await take_numbers(here, channel, 10)
        # A group and a channel may be on different servers.
        assert sorted(numbers) == sorted([*range(5), *range(5)])


async def test_node_that_has_left(redis_cluster: EmbeddedCluster) -> None:
    """Its reply, which names no owners, does not count, however soon it comes."""
    with EmbeddedCluster(masters=1) as former:
        command(former.nodes[0], "CLUSTER", "RESET")
        [host] = parse_hosts([{"cluster": [*former.addresses, *redis_cluster.addresses]}])
        cluster = Cluster(host)
        for _ in range(20):
            await within(cluster.learn())
            assert cluster.owners() == set(redis_cluster.addresses)
        [alone] = parse_hosts([former.host])
        with pytest.raises(RedisConnectionError, match="is in no Cluster"):
            await within(Cluster(alone).learn())


async def test_user_who_may_not_ask_for_the_slots(
    redis_cluster: EmbeddedCluster, layers: Layers
) -> None:
    """The error is at once, and names the command that is forbidden."""
    for node in redis_cluster.nodes:
        command(node, "ACL", "SETUSER", "narrow", "on", ">pw", "~*", "+@all", "-cluster|slots")
    host = {**redis_cluster.host, "username": "narrow", "password": "pw"}
    layer = layers(RedisChannelLayer, host)
    with pytest.raises(NoPermissionError, match=r"cluster\|slots"):
        await asyncio.wait_for(layer.send("jobs", {"type": "x"}), 10)
    for node in redis_cluster.nodes:
        command(node, "ACL", "DELUSER", "narrow")
