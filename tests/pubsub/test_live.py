"""`new_channel` and `group_add` return when the server has the subscription, not before."""

from __future__ import annotations

import asyncio

from support.messages import cancel, take, within
from support.pubsub_layers import Layers, waiting


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


async def test_general_channel_may_join_a_group_while_it_is_listened_on(layers: Layers) -> None:
    """A channel that this process listens on can join groups, whichever process made it."""
    layer = layers()
    receiver = await waiting(layer, "jobs")
    await within(layer.group_add("workers", "jobs"))
    await within(layers().group_send("workers", {"type": "work"}))
    assert await within(receiver) == {"type": "work"}
