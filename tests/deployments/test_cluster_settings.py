"""Errors for entries of `hosts` that do not fit the servers."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import NoPermissionError

from channels_redis_queue import RedisChannelLayer
from support.cluster import command

if TYPE_CHECKING:
    from support.cluster import EmbeddedCluster
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
