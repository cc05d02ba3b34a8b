"""The command `stats`: what a layer has on its servers."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from channels_redis_shared.cli.findings import Level
from support.commands import DOCTORS, PUBSUB, QUEUE, run

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from support.cluster import EmbeddedCluster

MESSAGE = {"type": "test.message"}


async def in_thread(package: str, *arguments: str) -> Any:
    """Run `stats --json`, while this loop goes on; return what it printed of the one layer."""
    done = await asyncio.to_thread(run, package, "stats", "--json", *arguments)
    assert done.status == 0, done.err
    (found,) = json.loads(done.out)
    return found


async def test_queue_layer(redis_server: EmbeddedServer, prefix: str) -> None:
    """Channels with their waiting messages, groups with processes and members."""
    layer = RedisChannelLayer([redis_server.url], prefix=prefix)
    channels = [await layer.new_channel() for _ in range(3)]
    for channel in channels:
        await layer.group_add("room", channel)
    await layer.group_add("room", "general")
    for _ in range(4):
        await layer.send("general", MESSAGE)
    await layer.send(channels[0], MESSAGE)
    found = await in_thread(QUEUE, "--prefix", prefix, redis_server.url)
    assert found["channels"] == {"general": 4, channels[0].partition("!")[0] + "!": 1}
    assert found["groups"] == 1
    assert found["largest_groups"] == [{"name": "room", "processes": 2, "members": 4}]
    shown = await asyncio.to_thread(run, QUEUE, "stats", "--prefix", prefix, redis_server.url)
    assert "2 channels, 5 waiting messages" in shown.words
    assert "general 4" in shown.words
    assert "1 groups" in shown.words
    assert "room 2 4" in shown.words
    await layer.close_pools()


async def test_pubsub_layer(redis_server: EmbeddedServer, prefix: str) -> None:
    """Channels and groups that processes listen to; the members are not known there."""
    layers = [RedisPubSubChannelLayer([redis_server.url], prefix=prefix) for _ in range(2)]
    channels = [await layer.new_channel() for layer in layers]
    for layer, channel in zip(layers, channels, strict=True):
        await layer.group_add("room", channel)
    found = await in_thread(PUBSUB, "--prefix", prefix, redis_server.url)
    assert found["channels"] == dict.fromkeys(channels)
    assert found["largest_groups"] == [{"name": "room", "processes": 2, "members": None}]
    shown = await asyncio.to_thread(run, PUBSUB, "stats", "--prefix", prefix, redis_server.url)
    assert "room 2 ?" in shown.words
    for layer in layers:
        await layer.close_pools()


async def test_sharded_pubsub(redis_cluster: EmbeddedCluster, prefix: str) -> None:
    """With `sharded_pubsub`, what each node of a Cluster has is put together."""
    layer = RedisPubSubChannelLayer([redis_cluster.host], prefix=prefix, sharded_pubsub=True)
    channels = [await layer.new_channel() for _ in range(8)]
    await layer.group_add("room", channels[0])
    found = await DOCTORS[PUBSUB].overview(layer, 20)
    assert found.channels == dict.fromkeys(channels)
    assert [(row.name, row.processes) for row in found.largest_groups] == [("room", 1)]
    required = DOCTORS[PUBSUB].required_commands(layer)
    commands = {one.words[0] for one in required if one.level == Level.ERROR}
    assert commands == {
        "PING",
        "SPUBLISH",
        "SSUBSCRIBE",
        "SUNSUBSCRIBE",
    }
    await layer.close_pools()


async def test_keys_of_others_do_not_count(own_server: EmbeddedServer) -> None:
    """Keys beside those of the layer, and its own for internal use, are no channels."""
    layer = RedisChannelLayer([own_server.url], prefix="shop:")
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    await layer.send("general", MESSAGE)
    assert await layer.receive("general") == MESSAGE
    await layer.send("general", MESSAGE)
    with own_server.client() as client:
        client.set("shop:cache", "of another program")
        client.set("elsewhere", "of another program")
        assert len(client.keys("*")) > 4
    found = await in_thread(QUEUE, "--prefix", "shop:", own_server.url)
    assert found["channels"] == {"general": 1}
    await layer.close_pools()


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
    assert "1 channels, 1 waiting messages 12 names that are not the layer's" in shown.words
    assert "jobs 1" in shown.words
    assert "1 groups" in shown.words
    assert "room 2 ?" in shown.words
    found = run(QUEUE, "stats", "--json", own_server.url)
    assert json.loads(found.out)[0]["foreign"] == 12


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
    assert "1 channels, 0 waiting messages 10 names that are not the layer's" in shown.words
    assert "room 1 ?" in shown.words


def test_no_server() -> None:
    """Without a server it exits with 2 and the reason, and names the doctor."""
    done = run(QUEUE, "stats", "redis://127.0.0.1:1/0")
    assert done.status == 2
    assert "The command doctor says what to change." in done.err
    assert "Traceback" not in done.err
