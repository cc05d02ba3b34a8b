"""Several hosts: names are spread over them, and an outage of one concerns that one alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError

from channels_redis_pubsub._shared.transport.commands import shard_of
from support.messages import joined, take, within
from support.pubsub_layers import (
    BACK,
    LOST,
    NOTICES,
    Layers,
    kill_subscriptions,
    nothing_else,
    subscribed,
)
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from channels_redis_pubsub import RedisPubSubChannelLayer
    from embedded_server import EmbeddedServer

HELLO = {"type": "hello"}
LOGGER = "channels_redis_pubsub"


@pytest.fixture
def servers(start_server: Callable[..., EmbeddedServer]) -> list[EmbeddedServer]:
    """Return two servers of the test's own."""
    return [start_server(), start_server()]


@pytest.fixture
def layer(servers: list[EmbeddedServer], layers: Layers) -> RedisPubSubChannelLayer:
    """Return a layer on both servers, with a short time limit."""
    hosts = [{"address": server.url, "socket_timeout": 0.5} for server in servers]
    return layers(hosts=hosts, **NOTICES)


async def members(layer: RedisPubSubChannelLayer) -> dict[int, str]:
    """Return a member of a group on each shard, by the shard; its channel is there, too."""
    found: dict[int, str] = {}
    while len(found) < 2:
        channel = await within(layer.new_channel())
        shard = shard_of(channel, 2)
        if shard not in found:
            found[shard] = channel
            await within(layer.group_add(group_on(layer, shard), channel))
    return found


def group_on(layer: RedisPubSubChannelLayer, shard: int) -> str:
    """Return the name of a group that lives on a shard."""
    topic = f"{layer.prefix}__group__"
    return next(name for name in "abcdefgh" if shard_of(topic + name, 2) == shard)


async def test_names_are_spread_as_channels_redis_does(
    servers: list[EmbeddedServer], layer: RedisPubSubChannelLayer
) -> None:
    """A channel and a group live where the hash of their name on the server says."""
    channels = [await joined(layer, f"room-{number}") for number in range(30)]
    for shard, server in enumerate(servers):
        names = {*channels, *(f"{layer.prefix}__group__room-{number}" for number in range(30))}
        assert subscribed(server) == {name for name in names if shard_of(name, 2) == shard}


async def test_outage_of_one_shard_is_told_once(
    servers: list[EmbeddedServer], layer: RedisPubSubChannelLayer, caplog: pytest.LogCaptureFixture
) -> None:
    """Each channel with subscriptions there is notified, and no other; other messages arrive."""
    by_shard, others = await members(layer), await members(layer)
    grouped, unharmed = by_shard[1], others[1]
    await within(layer.group_add(group_on(layer, 0), grouped))
    concerned = [by_shard[0], others[0], grouped]
    with caplog.at_level(logging.INFO, LOGGER):
        servers[0].kill()
        for channel in concerned:
            assert await take(layer, channel) == LOST
        for number in range(20):
            await within(layer.group_send(group_on(layer, 1), {"type": "x", "number": number}))
            for channel in (grouped, unharmed):
                assert await take(layer, channel) == {"type": "x", "number": number}
        with pytest.raises(RedisError):
            await within(layer.group_send(group_on(layer, 0), HELLO))
        servers[0].start()
        for channel in concerned:
            assert await take(layer, channel) == BACK
    await within(layer.group_send(group_on(layer, 0), HELLO))
    for channel in concerned:
        assert await take(layer, channel) == HELLO
    for channel in (*concerned, unharmed):
        await nothing_else(layer, channel)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize("leaves", [False, True])
async def test_outages_of_two_shards_are_one_for_a_channel(
    servers: list[EmbeddedServer], layer: RedisPubSubChannelLayer, *, leaves: bool
) -> None:
    """It is told once, and again when all of its own topics are back, or it has left the others."""
    by_shard = await members(layer)
    both, alone = waiting = [by_shard[0], by_shard[1]]
    await within(layer.group_add(group_on(layer, 1), both))
    servers[1].kill()
    assert [await take(layer, channel) for channel in waiting] == [LOST, LOST]
    kill_subscriptions(servers[0])
    await eventually(lambda: both in subscribed(servers[0]))
    await nothing_else(layer, both)
    if leaves:
        await within(layer.group_discard(group_on(layer, 1), both))
        assert await take(layer, both) == BACK
        waiting.remove(both)
    servers[1].start()
    for channel in waiting:
        assert await take(layer, channel) == BACK
    for channel in (both, alone):
        await nothing_else(layer, channel)
