"""Order, and bursts with which a reading consumer keeps up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from support.messages import joined, numbered, take_numbers, within

if TYPE_CHECKING:
    from support.queue_layers import Layers


async def test_bursts(layers: Layers) -> None:
    """20 bursts to each of 3 members, of 30 `send` and 30 `group_send`: the sends keep order."""
    layer = layers()
    channels = [await joined(layer, "room") for _ in range(3)]
    consumers = [asyncio.create_task(take_numbers(layer, name, 1200)) for name in channels]
    for start in range(0, 1200, 60):
        sends = [layer.send(name, one) for one in numbered(30, start) for name in channels]
        group_sends = [layer.group_send("room", one) for one in numbered(30, start + 30)]
        await within(asyncio.gather(*sends, *group_sends))
    for consumer in consumers:
        numbers = await within(consumer)
        assert sorted(numbers) == list(range(1200))
        sent = [number for number in numbers if number % 60 < 30]
        assert sent == sorted(sent)
