"""A consumer that stops reading costs a bounded amount of memory, and is heard of in the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from support.messages import numbered, take_many, within
from support.pubsub_layers import BACK, LOST, NOTICES, Layers, kill_subscriptions, nothing_else
from support.waiting import eventually

if TYPE_CHECKING:
    import pytest

    from channels_redis_pubsub import RedisPubSubChannelLayer

LOGGER = "channels_redis_pubsub"


async def send(layer: RedisPubSubChannelLayer, channel: str, count: int) -> None:
    """Send numbered messages."""
    for message in numbered(count):
        await within(layer.send(channel, message))


async def drops(layer: RedisPubSubChannelLayer, count: int) -> None:
    """Wait until so many messages have been dropped: the rest have arrived before them."""
    await eventually(lambda: layer.statistics().dropped.mailbox_full == count)


async def test_channel_capacity_goes_by_name(layers: Layers) -> None:
    """The first pattern that matches a channel's whole name gives its capacity."""
    prefix = layers.options["prefix"]
    layer = layers(capacity=5, channel_capacity={f"{prefix}chat.*": 2, "jobs": 3})
    for name, capacity, dropped in (("chat.", 2, 6), ("feed.", 5, 6 + 3)):
        channel = await layer.new_channel(name)
        await send(layer, channel, 8)
        await drops(layer, dropped)
        assert await take_many(layer, channel, capacity) == numbered(8)[8 - capacity :]
        await nothing_else(layer, channel)


async def test_notices_are_not_dropped(own_layers: Layers) -> None:
    """However full a mailbox is, the notices of an outage stay in it, and in their place."""
    layer, sender = own_layers(capacity=3, **NOTICES), own_layers()
    channel, reads = await layer.new_channel(), await layer.new_channel()
    await send(sender, channel, 3)
    kill_subscriptions(own_layers.server)
    assert await take_many(layer, reads, 2) == [LOST, BACK]
    await send(sender, channel, 5)
    # One more behind them: when it is here, they are.
    await send(sender, reads, 1)
    await take_many(layer, reads, 1)
    assert await take_many(layer, channel, 3) == [LOST, BACK, numbered(5)[-1]]
    await nothing_else(layer, channel)


async def test_overflow_is_logged_once(layers: Layers, caplog: pytest.LogCaptureFixture) -> None:
    """A channel's first dropped message is a WARNING that names it; the next are not."""
    layer = layers(capacity=2)
    first, second = await layer.new_channel(), await layer.new_channel()
    with caplog.at_level(logging.INFO, LOGGER):
        for channel, dropped in ((first, 48), (second, 2 * 48)):
            await send(layer, channel, 50)
            await drops(layer, dropped)
            assert await take_many(layer, channel, 2) == numbered(50)[48:]
    assert [(record.levelname, record.args) for record in caplog.records] == [
        ("WARNING", (first,)),
        ("WARNING", (second,)),
    ]
