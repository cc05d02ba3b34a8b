"""The command `stats`: what a layer has on its servers."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from support.commands import DOCTORS, PUBSUB, QUEUE, run

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from support.cluster import EmbeddedCluster
    from support.layers import Layers

MESSAGE = {"type": "test.message"}


async def test_queue_layer(layers: Layers, redis_server: EmbeddedServer) -> None:
    """Channels with their waiting messages, groups with processes and members."""
    layer = layers(RedisChannelLayer, redis_server.url)
    channels = [await layer.new_channel() for _ in range(3)]
    for channel in channels:
        await layer.group_add("room", channel)
    await layer.group_add("room", "general")
    for _ in range(4):
        await layer.send("general", MESSAGE)
    await layer.send(channels[0], MESSAGE)
    assert await DOCTORS[QUEUE].overview(layer) == {
        "channels": 2,
        "waiting_messages": 5,
        "fullest_channels": {"general": 4, channels[0].partition("!")[0] + "!": 1},
        "groups": 1,
        "largest_groups": {"room": {"processes": 2, "members": 4}},
        "keys_of_others": 0,
    }


async def test_pubsub_layer(layers: Layers, redis_server: EmbeddedServer) -> None:
    """Channels and groups that processes listen to; the members are not known there."""
    layer, other = (layers(RedisPubSubChannelLayer, redis_server.url) for _ in range(2))
    for each in (layer, other):
        await each.group_add("room", await each.new_channel())
    assert await DOCTORS[PUBSUB].overview(layer) == {
        "channels": 2,
        "groups": 1,
        "processes_of_largest_groups": {"room": 2},
        "subscriptions_of_others": 0,
    }


async def test_sharded_pubsub(layers: Layers, redis_cluster: EmbeddedCluster) -> None:
    """With `sharded_pubsub`, what each node of a Cluster has is put together."""
    layer = layers(RedisPubSubChannelLayer, redis_cluster.host, sharded_pubsub=True)
    channels = [await layer.new_channel() for _ in range(8)]
    await layer.group_add("room", channels[0])
    found = await DOCTORS[PUBSUB].overview(layer)
    assert found["channels"] == len(channels)
    assert found["processes_of_largest_groups"] == {"room": 1}
    required = DOCTORS[PUBSUB].required_rights(layer)[0].commands
    assert required == "PING, SPUBLISH KEY x, SSUBSCRIBE KEY, SUNSUBSCRIBE KEY"


HOSTILE = (b"j\x1b]0;pwned\x07\x1b[31mALL IS WELL", b"[/jobs]", b"a\nb", b"\xff\xfe", b"x" * 5000)


def test_hostile_keys(own_server: EmbeddedServer) -> None:
    """Names that no layer makes are counted; they rule no terminal, and end in no traceback."""
    with own_server.client() as client:
        for name in HOSTILE:
            client.zadd(b"asgi" + name, {b"m": 1})
            client.zadd(b"asgi:group:" + name, {name: time.time()})
        client.zadd("asgijobs", {"m": 1})
        process = f"specific.{'0' * 12}c{'0' * 19}!"
        client.zadd(
            "asgi:group:room", {f"{process}:g:room": time.time(), b"\xff\x1b[2J": time.time()}
        )
        client.set(f"asgi$members.{process}{{asgi:group:room}}", "of another type")
        client.set("asgi:group:text", "of another type")
        client.rpush("asgilist", "of another type")
    shown = run(QUEUE, "stats", own_server.url)
    assert shown.status == 0, shown.err
    assert "\x1b" not in shown.out
    (found,) = json.loads(shown.out)
    assert found["fullest_channels"] == {"jobs": 1}
    assert found["largest_groups"] == {"room": {"processes": 2, "members": None}}
    assert found["keys_of_others"] == 12


def test_hostile_topics(own_server: EmbeddedServer) -> None:
    """So it is with the Redis channels of the Pub/Sub layer."""
    with own_server.client() as client, client.pubsub() as pubsub:
        topics = [head + name for name in HOSTILE for head in (b"asgi", b"asgi__group__")]
        pubsub.subscribe(*topics, "asgispecific.1", "asgi__group__room")
        for _ in range(len(topics) + 2):
            assert pubsub.get_message(timeout=5)
        shown = run(PUBSUB, "stats", own_server.url)
        assert shown.status == 0, shown.err
    assert "\x1b" not in shown.out
    (found,) = json.loads(shown.out)
    assert (found["channels"], found["subscriptions_of_others"]) == (1, 10)
    assert found["processes_of_largest_groups"] == {"room": 1}
