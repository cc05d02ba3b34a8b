"""Sharded Pub/Sub while slots move, masters die, and users may not listen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from redis.crc import key_slot
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from channels_redis_pubsub import RedisPubSubChannelLayer
from environments import redis_6_2
from servers.cluster import command
from servers.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.conftest import MakeLayer
    from embedded_server import EmbeddedServer
    from servers.cluster import EmbeddedCluster

OUTAGE = 15.0  # seconds; what takes two or three of them on a quiet machine
OPTIONS: dict[str, Any] = {
    "sharded_pubsub": True,
    "on_disconnect": "lost",
    "on_reconnect": "back",
}


async def received(layer: RedisPubSubChannelLayer, channel: str) -> dict[str, Any]:
    """Return the next message of a channel."""
    message: dict[str, Any] = await asyncio.wait_for(layer.receive(channel), OUTAGE)
    return message


async def test_each_topic_is_at_its_node(
    redis_cluster: EmbeddedCluster, make_layer: MakeLayer
) -> None:
    """A channel is subscribed to at the node that owns its slot, and nowhere else."""
    layer = make_layer(RedisPubSubChannelLayer, hosts=[redis_cluster.host], **OPTIONS)
    channels = [await layer.new_channel() for _ in range(20)]
    found: dict[str, list[Any]] = {channel: [] for channel in channels}
    for node in redis_cluster.nodes:
        for name in command(node, "PUBSUB", "SHARDCHANNELS"):
            if name.decode() in found:
                found[name.decode()].append(node)
    assert found == {channel: [redis_cluster.master_of(channel)] for channel in channels}


async def test_slot_that_moves(redis_cluster: EmbeddedCluster, make_layer: MakeLayer) -> None:
    """A node that gives a slot away ends its subscriptions: who listened is told, and follows."""
    listener, sender = (
        make_layer(RedisPubSubChannelLayer, hosts=[redis_cluster.host], **OPTIONS) for _ in "ls"
    )
    channel = await listener.new_channel()
    await sender.send(channel, {"type": "before"})
    assert await received(listener, channel) == {"type": "before"}
    slot, source = key_slot(channel.encode()), redis_cluster.master_of(channel)
    target = next(node for node in redis_cluster.nodes if node is not source)
    redis_cluster.begin_move(slot, source, target)
    redis_cluster.end_move(slot, target)
    assert await received(listener, channel) == {"type": "lost"}
    assert await received(listener, channel) == {"type": "back"}
    await sender.send(channel, {"type": "after"})
    assert await received(listener, channel) == {"type": "after"}
    assert command(target, "PUBSUB", "SHARDNUMSUB", channel) == [channel.encode(), 1]


async def test_master_that_dies(replicated_cluster: EmbeddedCluster, make_layer: MakeLayer) -> None:
    """Who listens is told, and hears again at the replica that took over."""
    listener, sender = (
        make_layer(RedisPubSubChannelLayer, hosts=[replicated_cluster.host], **OPTIONS)
        for _ in "ls"
    )
    channel = await listener.new_channel()
    await listener.group_add("room", channel)
    replicated_cluster.master_of(channel).kill()
    assert await received(listener, channel) == {"type": "lost"}
    assert await received(listener, channel) == {"type": "back"}

    async def sent() -> bool:
        # The first may go out before the connection's end is known: then the caller is told.
        try:
            await sender.send(channel, {"type": "direct"})
            await sender.group_send("room", {"type": "group"})
        except RedisError:
            return False
        return True

    await eventually(sent, timeout=OUTAGE)
    types = {(await received(listener, channel))["type"] for _ in range(2)}
    assert types == {"direct", "group"}


async def test_topic_that_is_refused(redis_cluster: EmbeddedCluster, make_layer: MakeLayer) -> None:
    """Its caller gets the error; topics that were asked for in the same turn are heard."""
    for node in redis_cluster.nodes:
        command(node, "ACL", "SETUSER", "half", "on", ">pw", "+@all", "resetchannels", "&*open*")
    host = {**redis_cluster.host, "username": "half", "password": "pw"}
    layer = make_layer(RedisPubSubChannelLayer, hosts=[host], sharded_pubsub=True)
    kinds = ["open.", "shut.", "open.", "open.", "shut.", "open."]
    made = await asyncio.gather(*map(layer.new_channel, kinds), return_exceptions=True)
    assert [isinstance(one, NoPermissionError) for one in made] == [
        kind == "shut." for kind in kinds
    ]
    for channel in [one for one in made if isinstance(one, str)]:
        await layer.send(channel, {"type": "x"})
        assert await received(layer, channel) == {"type": "x"}
    for node in redis_cluster.nodes:
        command(node, "ACL", "DELUSER", "half")


async def test_silent_node(
    replicated_cluster: EmbeddedCluster, make_layer: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that answers nothing is found, although the others are lively."""
    monkeypatch.setattr("channels_redis_pubsub.sharded.LOOK", 0.3)
    layer = make_layer(RedisPubSubChannelLayer, hosts=[replicated_cluster.host], **OPTIONS)
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

    chatting = asyncio.create_task(chat())
    assert await received(layer, silent) == {"type": "lost"}
    chatting.cancel()
    await asyncio.wait([chatting])
    assert await received(layer, silent) == {"type": "back"}
    node.resume()


async def test_server_that_is_too_old(
    start_server: Callable[..., EmbeddedServer], make_layer: MakeLayer
) -> None:
    """The error names its version, the option, and the version that is needed."""
    old = start_server(binary=redis_6_2())
    layer = make_layer(RedisPubSubChannelLayer, hosts=[old.url], sharded_pubsub=True)
    text = r"is version 6\.2\.\d+, which is too old for the option sharded_pubsub: use Redis 7\.0"
    for call in (layer.new_channel(), layer.send("x", {"type": "x"}), layer.receive("jobs")):
        with pytest.raises(ResponseError, match=text):
            await asyncio.wait_for(call, OUTAGE)


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_option_is_true_or_false(value: object) -> None:
    """Anything else is refused at once."""
    with pytest.raises(ValueError, match="sharded_pubsub must be True or False"):
        RedisPubSubChannelLayer(sharded_pubsub=value)  # type: ignore[arg-type]
