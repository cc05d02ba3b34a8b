"""Many subscriptions: restored in batches, on few connections."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from support.counting import count_commands
from support.messages import cancel, joined, take, take_many, within
from support.pubsub_layers import (
    BACK,
    LOST,
    NOTICES,
    Layers,
    connections,
    inside,
    kill_subscriptions,
    subscribed,
    waiting,
)
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable


MANY = 10_000


@pytest.mark.timeout(120)
async def test_twenty_thousand_subscriptions_are_restored(
    own_layers: Layers, record_property: Callable[[str, object], None]
) -> None:
    """10,000 channels, each in its own group, receive again within seconds."""
    layer = own_layers(**NOTICES)
    channels: list[str] = []
    for start in range(0, MANY, 500):
        numbers = range(start, start + 500)
        channels += await within(asyncio.gather(*(joined(layer, f"room-{n}") for n in numbers)))
    assert len(subscribed(own_layers.server)) == 2 * MANY
    began = time.monotonic()
    with count_commands(own_layers.server) as counted:
        kill_subscriptions(own_layers.server)
        assert await take_many(layer, channels[0], 2) == [LOST, BACK]
        await eventually(lambda: len(subscribed(own_layers.server)) == 2 * MANY)
        took = time.monotonic() - began
    record_property("seconds_to_restore_20000_subscriptions", round(took, 2))
    assert took < 10
    assert counted.commands["subscribe"] <= 50
    sender = own_layers()
    for number in range(0, MANY, 999):
        await within(sender.group_send(f"room-{number}", {"type": "hello"}))
        assert await take_many(layer, channels[number], 3 if number else 1) == [
            *([LOST, BACK] if number else []),
            {"type": "hello"},
        ]


async def test_loop_has_time_for_others_meanwhile(own_layers: Layers) -> None:
    """Thousands of consumers that get a notice at once take turns with all else in the loop."""
    layer, told = own_layers(**NOTICES), [0]

    async def consume() -> None:
        channel = await layer.new_channel()
        while True:
            await layer.receive(channel)
            told[-1] += 1

    consumers = [asyncio.create_task(consume()) for _ in range(5000)]
    await eventually(lambda: len(subscribed(own_layers.server)) == 5000)
    kill_subscriptions(own_layers.server)
    while sum(told) < 10_000:
        await asyncio.sleep(0)
        told.append(0)
    # Each gets two notices, perhaps in one turn.
    assert max(told) <= 2000
    await cancel(*consumers)


async def test_changes_of_one_turn_go_out_together(own_layers: Layers) -> None:
    """A hundred consumers that come at once make a handful of commands."""
    layer = own_layers()
    await within(layer.new_channel())
    with count_commands(own_layers.server) as counted:
        await within(asyncio.gather(*(joined(layer, f"room-{n}") for n in range(100))))
    assert counted.commands["subscribe"] <= 4


async def test_waiting_consumers_hold_two_connections(own_layers: Layers) -> None:
    """500 consumers that wait, and 50 group messages at once: one connection each way."""
    layer = own_layers()
    channels = await within(asyncio.gather(*(joined(layer, "room") for _ in range(500))))
    receivers = [asyncio.create_task(take_many(layer, channel, 50)) for channel in channels]
    await within(asyncio.gather(*(layer.group_send("room", {"type": "x"}) for _ in range(50))))
    await within(asyncio.gather(*receivers))
    assert len(connections(own_layers.server)) == 2


@pytest.mark.usefixtures("frequent_probes")
async def test_connection_without_subscriptions_is_closed(own_layers: Layers) -> None:
    """The connection closes some time after the last consumer ends, and reopens."""
    layer = own_layers(**NOTICES)
    channel = await layer.new_channel()
    receiver = await waiting(layer, channel)
    [listening] = [one["id"] for one in connections(own_layers.server) if "P" in one["flags"]]
    await cancel(receiver)
    inside(layer).close(channel)
    await eventually(lambda: listening not in [one["id"] for one in connections(own_layers.server)])
    channel = await within(layer.new_channel())
    await within(layer.send(channel, {"type": "hello"}))
    assert await take(layer, channel) == {"type": "hello"}
