"""`new_channel` and `group_add` return when the server has the subscription, not before."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from support.messages import cancel, take, within
from support.pubsub_layers import Layers, waiting

if TYPE_CHECKING:
    from channels_redis_pubsub import RedisPubSubChannelLayer


async def test_two_thousand_joins_lose_no_message(layers: Layers) -> None:
    """Join a group, and at once another connection sends to it: each message arrives."""
    layer, other = layers(), layers()

    async def join_and_hear(number: int) -> None:
        channel = await layer.new_channel()
        await layer.group_add(f"room-{number}", channel)
        await other.group_send(f"room-{number}", {"type": "hello", "number": number})
        assert await layer.receive(channel) == {"type": "hello", "number": number}

    async def one_after_the_other(start: int) -> None:
        for number in range(start, start + 100):
            await join_and_hear(number)

    await within(asyncio.gather(*(one_after_the_other(100 * start) for start in range(20))))


async def test_last_member_leaves_as_another_joins(layers: Layers) -> None:
    """A group that its last member leaves and another joins in one turn stays subscribed."""
    layer, other = layers(), layers()
    channels = [await layer.new_channel(), await layer.new_channel()]
    await within(layer.group_add("room", channels[0]))
    for number in range(200):
        old, new = channels[number % 2], channels[(number + 1) % 2]
        await within(asyncio.gather(layer.group_discard("room", old), layer.group_add("room", new)))
        await within(other.group_send("room", {"type": "hello", "number": number}))
        assert await take(layer, new) == {"type": "hello", "number": number}


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


async def test_random_joins_and_leaves_end_as_the_last_call_says(layers: Layers) -> None:
    """After a storm of calls by many consumers, each is a member of what it joined last."""
    layer, other = layers(), layers()
    groups = [f"room-{number}" for number in range(5)]

    async def storm(seed: int) -> tuple[str, set[str]]:
        dice, channel, member_of = random.Random(seed), await layer.new_channel(), set[str]()
        for _ in range(40):
            group = dice.choice(groups)
            if dice.random() < 0.5:
                await layer.group_add(group, channel)
                member_of.add(group)
            else:
                await layer.group_discard(group, channel)
                member_of.discard(group)
        return channel, member_of

    ended = await within(asyncio.gather(*(storm(seed) for seed in range(30))))
    for group in groups:
        await within(other.group_send(group, {"type": "hello", "group": group}))
    for channel, member_of in ended:
        assert await heard(layer, channel) == sorted(member_of)


async def test_general_channel_may_join_a_group_while_it_is_listened_on(layers: Layers) -> None:
    """A channel that this process listens on can join groups, whichever process made it."""
    layer = layers()
    receiver = await waiting(layer, "jobs")
    await within(layer.group_add("workers", "jobs"))
    await within(layers().group_send("workers", {"type": "work"}))
    assert await within(receiver) == {"type": "work"}


async def heard(layer: RedisPubSubChannelLayer, channel: str) -> list[str]:
    """Return the groups whose messages wait in a channel."""
    await within(layer.send(channel, {"type": "end"}))
    groups: list[str] = []
    while (message := await take(layer, channel)) != {"type": "end"}:
        groups.append(message["group"])
    return sorted(groups)
