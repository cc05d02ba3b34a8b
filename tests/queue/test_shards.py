"""Several hosts: what is sent lies where it is read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest_asyncio

from channels_redis_queue._shared.transport.commands import shard_of
from support.messages import numbered, take_elsewhere, within
from support.queue_layers import Layers, beside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from channels_redis_queue import RedisChannelLayer
    from embedded_server import EmbeddedServer


@pytest_asyncio.fixture
async def sharded(redis_shards: tuple[EmbeddedServer, ...], prefix: str) -> AsyncIterator[Layers]:
    """Yield a maker of layers with two hosts."""
    made = Layers(hosts=[server.url for server in redis_shards[:2]], prefix=prefix)
    yield made
    await made.close()


async def channels_on_both(layer: RedisChannelLayer, count: int) -> list[str]:
    """Return new channels, half of which live on each of two shards."""
    found: list[list[str]] = [[], []]
    number = 0
    while min(map(len, found)) < count // 2:
        name = await layer.new_channel(f"c{number}")
        found[shard_of(name[: name.index("!") + 1], 2)].append(name)
        number += 1
    return [name for names in found for name in names[: count // 2]]


async def test_messages_lie_on_the_shard_of_the_address(
    sharded: Layers, redis_shards: tuple[EmbeddedServer, ...]
) -> None:
    """Whatever the local part, the part up to the exclamation mark says where."""
    sender, layer = sharded(), sharded()
    for channel in await channels_on_both(layer, 8):
        await sender.send(channel, {"type": "hello"})
        shard = shard_of(channel[: channel.index("!") + 1], 2)
        for number, server in enumerate(redis_shards[:2]):
            with server.client() as client:
                assert client.zcard(beside(layer, channel).key) == (number == shard)


async def test_every_waiting_receiver_gets_one(sharded: Layers) -> None:
    """Messages that arrive from all shards at once are no overflow, however small the capacity."""
    layer, sender = sharded(capacity=1), sharded(capacity=1)
    for start in range(0, 100, 2):
        receivers = [asyncio.create_task(layer.receive("jobs")) for _ in range(2)]
        await take_elsewhere(layer)
        await asyncio.gather(*(sender.send("jobs", message) for message in numbered(2, start)))
        received = await within(asyncio.gather(*receivers))
        assert sorted(message["number"] for message in received) == [start, start + 1]
