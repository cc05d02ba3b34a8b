"""Whose a message is: layers side by side, and event loops side by side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from support.loop_thread import LoopThread
from support.messages import cancel
from support.waiting import eventually

if TYPE_CHECKING:
    from support.queue_layers import Layers


def test_each_layer_has_an_id_of_its_own(layers: Layers) -> None:
    """Two aliases of one layer are two receivers."""
    ids = {layers().client_prefix for _ in range(20)}
    assert len(ids) == 20


async def test_receivers_of_a_general_channel_in_two_loops(layers: Layers) -> None:
    """Each message goes to one receiver, in whichever loop, and none gets lost."""
    layer, sender = layers(), layers(capacity=1000)
    numbers: list[int] = []

    async def drain() -> None:
        while True:
            numbers.append((await layer.receive("jobs"))["number"])

    here = [asyncio.create_task(drain()) for _ in range(3)]
    with LoopThread() as other:
        there = [other.start(drain()) for _ in range(3)]
        for number in range(500):
            await sender.send("jobs", {"number": number})
        await eventually(lambda: len(numbers) >= 500)
        for future in there:
            future.cancel()
    await cancel(*here)
    assert sorted(numbers) == list(range(500))
