"""Joins and leaves: they hold when the call returns, and what is cancelled leaves nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from support.messages import cancel, joined, take, within
from support.pubsub_layers import Layers, inside, subscribed
from support.waiting import eventually

if TYPE_CHECKING:
    from channels_redis_pubsub import RedisPubSubChannelLayer

pytestmark = pytest.mark.usefixtures("frequent_sweeps")


async def test_cancelled_first_receive_leaves_nothing(own_layers: Layers) -> None:
    """A `receive` of a general channel, cancelled at any moment of its start."""
    layer = own_layers(channel_expiry=1)
    await layer.new_channel()
    for turns in range(12):
        receiver = asyncio.create_task(layer.receive("jobs"))
        for _ in range(turns):
            await asyncio.sleep(0)
        await cancel(receiver)
    await eventually(lambda: len(subscribed(own_layers.server)) == 1)
    assert held(layer) == {"channels": 1, "topics": 1, "mailboxes": 0}


async def test_cancelled_new_channel_leaves_nothing(own_layers: Layers) -> None:
    """A `new_channel` or `group_add` that is cancelled while it waits for the server."""
    layer = own_layers()
    stays = await layer.new_channel()
    for turns in range(8):
        making = asyncio.create_task(layer.new_channel())
        joining = asyncio.create_task(layer.group_add("room", stays))
        for _ in range(turns):
            await asyncio.sleep(0)
        if making.done() or joining.done():
            break
        await cancel(making, joining)
        assert held(layer) == {"channels": 1, "topics": 1, "mailboxes": 0}
    await eventually(lambda: len(subscribed(own_layers.server)) <= 3)


async def test_last_member_ends_the_subscription(own_layers: Layers) -> None:
    """The subscription of a group ends when the process's last member has left."""
    layer = own_layers()
    channel = await joined(layer, "room")
    assert subscribed(own_layers.server) == {channel, f"{layer.prefix}__group__room"}
    await within(layer.group_discard("room", channel))
    await eventually(lambda: subscribed(own_layers.server) == {channel})


async def test_cancelled_join_leaves_others_alone(layers: Layers) -> None:
    """Of two calls for one membership one is cancelled: the other one holds."""
    layer, other = layers(), layers()
    for _ in range(50):
        channel = await layer.new_channel()
        first = asyncio.create_task(layer.group_add("room", channel))
        second = asyncio.create_task(layer.group_add("room", channel))
        await asyncio.sleep(0)
        await cancel(first)
        await within(second)
        await within(other.group_send("room", {"type": "hello"}))
        assert await take(layer, channel) == {"type": "hello"}
        await within(layer.group_discard("room", channel))


def held(layer: RedisPubSubChannelLayer) -> dict[str, int]:
    """Return how much a layer holds in this process."""
    broker = inside(layer)
    return {
        "channels": len(broker.hub.channels()),
        "topics": len(broker.hub.topics()),
        "mailboxes": len(broker.consumers.mailboxes),
    }
