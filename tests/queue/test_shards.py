"""Several hosts: what is sent lies where it is read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest_asyncio

from support.messages import numbered, take_elsewhere, within
from support.queue_layers import Layers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from embedded_server import EmbeddedServer


@pytest_asyncio.fixture
async def sharded(redis_shards: tuple[EmbeddedServer, ...], prefix: str) -> AsyncIterator[Layers]:
    """Yield a maker of layers with two hosts."""
    made = Layers(hosts=[server.url for server in redis_shards[:2]], prefix=prefix)
    yield made
    await made.close()


async def test_every_waiting_receiver_gets_one(sharded: Layers) -> None:
    """Messages that arrive from all shards at once are no overflow, however small the capacity."""
    layer, sender = sharded(capacity=1), sharded(capacity=1)
    for start in range(0, 100, 2):
        receivers = [asyncio.create_task(layer.receive("jobs")) for _ in range(2)]
        await take_elsewhere(layer)
        await asyncio.gather(*(sender.send("jobs", message) for message in numbered(2, start)))
        received = await within(asyncio.gather(*receivers))
        assert sorted(message["number"] for message in received) == [start, start + 1]
