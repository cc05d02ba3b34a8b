"""Each sabotage breaks what it says."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from soak.sabotage import Sabotaged
from support.messages import cancel
from support.waiting import eventually


class Once(random.Random):
    """Lets the second message of all be the one that is broken."""

    def __init__(self) -> None:
        super().__init__()
        self._drawn = 0

    def random(self) -> float:
        """Return 0 the second time, and 1 otherwise."""
        self._drawn += 1
        return float(self._drawn != 2)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("drop", [1, 3, 4]),
        ("double", [1, 2, 2, 3, 4]),
        ("swap", [1, 3, 2, 4]),
        ("mute", [1]),
    ],
)
async def test_sabotage(kind: str, expected: list[int]) -> None:
    """Four messages, of which the second one is broken."""
    layer = Sabotaged(InMemoryChannelLayer(), kind, Once(), odds=0.5)
    channel = await layer.new_channel()
    for number in range(1, 5):
        await layer.send(channel, {"id": number})
    got: list[Any] = []
    receiving = asyncio.ensure_future(_receive(layer, channel, got))
    await eventually(lambda: len(got) >= len(expected))
    # All is in memory: what else there was would come in the next turns.
    for _ in range(20):
        await asyncio.sleep(0)
    await cancel(receiving)
    assert got == expected


async def _receive(layer: Any, channel: str, got: list[Any]) -> None:
    while True:
        message = await layer.receive(channel)
        got.append(message["id"])
