"""Bursts arrive whole; a consumer that is stuck harms itself alone, and is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from conformance.capabilities import Capability, needs
from conformance.promises import Beyond, checks
from support.messages import joined, numbered, take, take_many, within
from support.waiting import eventually

if TYPE_CHECKING:
    from conformance.layer_case import LayerCase

pytestmark = [checks(Beyond.OVERFLOW), needs(Capability.OVERFLOW)]

TEXT = "x" * 1000


async def test_stuck_consumer_loses_its_oldest_and_is_told(case: LayerCase) -> None:
    """One notice in the place of what is missing; the others lose nothing."""
    layer: Any = case.layer(mailbox_bytes=40_000, on_overflow="lost", capacity=1000)
    quiet, stuck = await layer.new_channel(), await layer.new_channel()
    receiving = asyncio.create_task(layer.receive(quiet))
    for message in numbered(3):
        await within(layer.send(quiet, {**message, "text": TEXT}))
    for message in numbered(100):
        await within(layer.send(stuck, {**message, "text": TEXT}))
    found = layer.statistics

    def all_have_come() -> bool:
        come: int = found().dropped.mailbox_full + found().waiting
        return come >= 2 + 100

    await eventually(all_have_come)
    lost = found().dropped.mailbox_full
    assert 50 < lost < 95
    assert await within(receiving) == {**numbered(1)[0], "text": TEXT}
    assert await take_many(layer, quiet, 2) == [
        {**message, "text": TEXT} for message in numbered(2, start=1)
    ]
    assert await take(layer, stuck) == {"type": "lost", "lost": lost}
    left = await take_many(layer, stuck, 100 - lost)
    assert [message["number"] for message in left] == list(range(lost, 100))
    await case.nothing_else(layer, stuck)


async def test_burst_reaches_a_consumer_that_keeps_taking(case: LayerCase) -> None:
    """Whatever the number, and though it comes quicker than it is taken."""
    layer = case.layer(capacity=5000)
    channel = await joined(layer, "room")
    receiving = asyncio.create_task(take_many(layer, channel, 3000))
    for start in range(0, 3000, 500):
        sends = (layer.group_send("room", one) for one in numbered(500, start=start))
        await within(asyncio.gather(*sends))
    assert await receiving == numbered(3000)
