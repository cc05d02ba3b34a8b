"""Sharded Pub/Sub while slots move, masters die, and a user lacks rights."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, ResponseError

from channels_redis_pubsub import RedisPubSubChannelLayer
from support import inside
from support.cluster import command
from support.environments import redis_6_2
from support.layers import succeeds
from support.messages import take
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded_server import EmbeddedServer
    from support.cluster import EmbeddedCluster
    from support.layers import Layers

OUTAGE = 15.0  # seconds; what takes two or three of them on a quiet machine
OPTIONS: dict[str, Any] = {
    "sharded_pubsub": True,
    "on_disconnect": "lost",
    "on_reconnect": "back",
}


async def test_dead_node_costs_its_own_topics(
    lone_masters: EmbeddedCluster, layers: Layers
) -> None:
    """The other nodes' topics keep working, new channels open there at once; the rest recovers."""
    host = {**lone_masters.host, "socket_timeout": 20}
    listener, sender = (layers(RedisPubSubChannelLayer, host, **OPTIONS) for _ in "ls")
    dying, living = lone_masters.nodes[:2]
    unharmed = await channel_at(living, lone_masters, listener)
    grouped = await channel_at(living, lone_masters, listener)
    harmed = await channel_at(dying, lone_masters, listener)
    lost_group, kept_group = (group_at(node, lone_masters, listener) for node in (dying, living))
    new = [name_at(living, lone_masters) for _ in range(3)]
    await listener.group_add(lost_group, grouped)
    for channel in (unharmed, grouped, harmed):
        await listener.group_add(kept_group, channel)
    dying.kill()
    for channel in (grouped, harmed):
        assert await take(listener, channel) == {"type": "lost"}
    for number in range(50):
        await sender.group_send(kept_group, {"type": "x", "number": number})
        await sender.send(unharmed, {"type": "y", "number": number})
    for channel in (grouped, harmed):
        numbers = [(await take(listener, channel))["number"] for _ in range(50)]
        assert numbers == list(range(50))
    kinds = [(await take(listener, unharmed))["type"] for _ in range(100)]
    assert kinds.count("x") == kinds.count("y") == 50
    for channel in new:
        # Less than the 20 s after which a call that waited for the dead node would end.
        await asyncio.wait_for(inside.broker(listener).open(channel), 10)
        await asyncio.wait_for(listener.group_add(kept_group, channel), 10)
    dying.start()
    for channel in (grouped, harmed):
        assert await take(listener, channel) == {"type": "back"}
    sending = partial(sender.group_send, lost_group, {"type": "again"})
    await eventually(lambda: succeeds(sending), timeout=OUTAGE)
    assert await take(listener, grouped) == {"type": "again"}
    await sender.send(unharmed, {"type": "end"})
    assert await take(listener, unharmed) == {"type": "end"}


async def test_slot_without_a_node(
    lone_masters: EmbeddedCluster, layers: Layers, caplog: pytest.LogCaptureFixture
) -> None:
    """Its topics wait for a node, with both notices; others of its old node keep working."""
    caplog.set_level(logging.INFO, "channels_redis_pubsub")
    host = {**lone_masters.host, "socket_timeout": 3}
    layer = layers(RedisPubSubChannelLayer, host, **OPTIONS)
    node = lone_masters.nodes[0]
    harmed, unharmed = [await channel_at(node, lone_masters, layer) for _ in "hu"]
    slot = key_slot(harmed.encode())
    assert slot != key_slot(unharmed.encode())
    for each in lone_masters.nodes:
        command(each, "CLUSTER", "DELSLOTS", slot)
    assert await take(layer, harmed) == {"type": "lost"}
    other = f"other{{{harmed}}}"
    with pytest.raises(RedisConnectionError, match="is away: not all slots"):
        await inside.broker(layer).open(other)
    await layer.send(unharmed, {"type": "hello"})
    assert await take(layer, unharmed) == {"type": "hello"}
    command(node, "CLUSTER", "ADDSLOTS", slot)
    assert await take(layer, harmed) == {"type": "back"}
    await inside.broker(layer).open(other)
    await layer.send(harmed, {"type": "hello"})
    assert await take(layer, harmed) == {"type": "hello"}
    lines = [record.message for record in caplog.records if record.name == "channels_redis_pubsub"]
    assert "a slot has moved away" in lines[0]
    assert lines[1].endswith("is back")


async def test_leaving_as_the_slot_moves(redis_cluster: EmbeddedCluster, layers: Layers) -> None:
    """The node ends a subscription and refuses to end it again: no harm to the others."""
    layer = layers(RedisPubSubChannelLayer, redis_cluster.host, **OPTIONS)
    source, target = redis_cluster.nodes[:2]
    unharmed = await channel_at(source, redis_cluster, layer)
    group = group_at(source, redis_cluster, layer)
    topic = f"{layer.prefix}__group__{group}"
    slot = key_slot(topic.encode())
    await layer.group_add(group, unharmed)
    redis_cluster.begin_move(slot, source, target)
    # Without a turn of the loop: the layer asks before it hears that the slot has gone.
    redis_cluster.end_move(slot, target)
    with pytest.raises(StopIteration):
        layer.group_discard(group, unharmed).send(None)
    for _ in range(3):
        await channel_at(source, redis_cluster, layer)
    await layer.send(unharmed, {"type": "hello"})
    assert await take(layer, unharmed) == {"type": "hello"}
    await layer.group_add(group, unharmed)
    await layer.group_send(group, {"type": "group"})
    assert await take(layer, unharmed) == {"type": "group"}


async def test_many_slots_move(redis_cluster: EmbeddedCluster, layers: Layers) -> None:
    """Each channel is notified once if its slots move, and receives again afterwards."""
    layer = layers(RedisPubSubChannelLayer, redis_cluster.host, **OPTIONS)
    source, target = redis_cluster.nodes[:2]
    moved = [await channel_at(source, redis_cluster, layer) for _ in range(20)]
    kept = [await channel_at(source, redis_cluster, layer) for _ in range(5)]
    groups = [f"group-{number}" for number in range(30)]
    topics = [f"{layer.prefix}__group__{group}" for group in groups]
    for group in groups:
        await layer.group_add(group, moved[0])
    names = [*moved, *(topic for topic in topics if redis_cluster.master_of(topic) is source)]
    slots = {key_slot(name.encode()) for name in names}
    kept = [channel for channel in kept if key_slot(channel.encode()) not in slots]
    for slot in slots:
        # Without a turn of the loop: it hears of all at once.
        redis_cluster.begin_move(slot, source, target)
        redis_cluster.end_move(slot, target)
    for channel in moved:
        assert await take(layer, channel) == {"type": "lost"}
        assert await take(layer, channel) == {"type": "back"}
    for channel in moved + kept:
        await layer.send(channel, {"type": "hello"})
        assert await take(layer, channel) == {"type": "hello"}


async def channel_at(
    node: EmbeddedServer, cluster: EmbeddedCluster, layer: RedisPubSubChannelLayer
) -> str:
    """Return a new channel that lives at a node."""
    channel = name_at(node, cluster)
    await inside.broker(layer).open(channel)
    return channel


def name_at(node: EmbeddedServer, cluster: EmbeddedCluster) -> str:
    """Return the name of a channel that would live at a node; all nodes have to run."""
    names = (f"channel-{number}" for number in itertools.count(random.randrange(10**9)))
    return next(name for name in names if cluster.master_of(name) is node)


def group_at(node: EmbeddedServer, cluster: EmbeddedCluster, layer: RedisPubSubChannelLayer) -> str:
    """Return the name of a group that lives at a node."""
    groups = (f"group-{number}" for number in itertools.count())
    return next(
        group for group in groups if cluster.master_of(f"{layer.prefix}__group__{group}") is node
    )


async def test_topic_that_is_refused(redis_cluster: EmbeddedCluster, layers: Layers) -> None:
    """Its caller gets the error; topics requested in the same turn are subscribed to."""
    for node in redis_cluster.nodes:
        command(node, "ACL", "SETUSER", "half", "on", ">pw", "+@all", "resetchannels", "&*open*")
    host = {**redis_cluster.host, "username": "half", "password": "pw"}
    layer = layers(RedisPubSubChannelLayer, host, sharded_pubsub=True)
    kinds = ["open.", "shut.", "open.", "open.", "shut.", "open."]
    made = await asyncio.gather(*map(layer.new_channel, kinds), return_exceptions=True)
    assert [isinstance(outcome, NoPermissionError) for outcome in made] == [
        kind == "shut." for kind in kinds
    ]
    for channel in [name for name in made if isinstance(name, str)]:
        await layer.send(channel, {"type": "x"})
        assert await take(layer, channel) == {"type": "x"}
    for node in redis_cluster.nodes:
        command(node, "ACL", "DELUSER", "half")


async def test_silent_node(
    replicated_cluster: EmbeddedCluster, layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that answers nothing is left for its replica, and the others keep working."""
    monkeypatch.setattr("channels_redis_pubsub.subscriber.PROBE_INTERVAL", 0.3)
    monkeypatch.setattr("channels_redis_pubsub.subscriber.SILENCE_GRACE", 1.0)
    layer = layers(RedisPubSubChannelLayer, replicated_cluster.host, **OPTIONS)
    silent = await layer.new_channel()
    node = replicated_cluster.master_of(silent)
    lively = await layer.new_channel()
    while replicated_cluster.master_of(lively) is node:
        lively = await layer.new_channel()
    node.pause()

    async def chat() -> None:
        while True:
            await layer.send(lively, {"type": "x"})
            await layer.receive(lively)
            await asyncio.sleep(0.01)

    chatting = asyncio.create_task(chat())
    assert await take(layer, silent) == {"type": "lost"}
    chatting.cancel()
    await asyncio.wait([chatting])
    assert await take(layer, silent) == {"type": "back"}
    node.resume()
    assert (layer.statistics().reconnects, layer.statistics().outage_seconds > 0) == (1, True)


async def test_server_that_is_too_old(
    start_server: Callable[..., EmbeddedServer], layers: Layers
) -> None:
    """The error names the option, and the version that is needed."""
    old = start_server(binary=redis_6_2())
    layer = layers(RedisPubSubChannelLayer, old.url, sharded_pubsub=True)
    text = r"for sharded_pubsub use Redis 7\.0"
    for call in (layer.new_channel(), layer.send("x", {"type": "x"}), layer.receive("jobs")):
        with pytest.raises(ResponseError, match=text):
            await asyncio.wait_for(call, OUTAGE)
