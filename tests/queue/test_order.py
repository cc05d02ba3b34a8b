"""Order, and bursts with which a reading consumer keeps up."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from support.messages import cancel, numbered, take_numbers, within
from support.waiting import eventually

if TYPE_CHECKING:
    from channels_redis_queue import RedisChannelLayer
    from support.queue_layers import Layers, StartRemoteLayer

SENDERS = 100
ROUNDS = 8


async def test_bursts_of_sends(layers: Layers) -> None:
    """20 bursts of 80 at once, capacity 100: all arrive, in the order in which they were issued."""
    layer = layers()
    channel = await layer.new_channel()
    consumer = asyncio.create_task(take_numbers(layer, channel, 1600))
    for start in range(0, 1600, 80):
        sends = [layer.send(channel, message) for message in numbered(80, start)]
        await within(asyncio.gather(*sends))
    assert await within(consumer) == list(range(1600))


async def test_bursts_of_group_sends(layers: Layers) -> None:
    """20 bursts of 80 `group_send` at once reach each member of the group."""
    layer = layers()
    channels = [await layer.new_channel() for _ in range(3)]
    for channel in channels:
        await layer.group_add("room", channel)
    consumers = [asyncio.create_task(take_numbers(layer, name, 1600)) for name in channels]
    for start in range(0, 1600, 80):
        sends = [layer.group_send("room", message) for message in numbered(80, start)]
        await within(asyncio.gather(*sends))
    for consumer in consumers:
        assert sorted(await within(consumer)) == list(range(1600))


async def test_bursts_of_both_at_once(layers: Layers) -> None:
    """20 bursts of 40 `send` and 40 `group_send` at once: the sends arrive in their order."""
    layer = layers()
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    consumer = asyncio.create_task(take_numbers(layer, channel, 1600))
    for start in range(0, 1600, 80):
        sends = [layer.send(channel, message) for message in numbered(40, start)]
        group_sends = [layer.group_send("room", message) for message in numbered(40, start + 40)]
        await within(asyncio.gather(*sends, *group_sends))
    numbers = await within(consumer)
    assert sorted(numbers) == list(range(1600))
    sent = [number for number in numbers if number % 80 < 40]
    assert sent == sorted(sent)


async def test_bursts_from_another_process(layers: Layers, remote_layer: StartRemoteLayer) -> None:
    """20 bursts of 80 at once that another process sends: all arrive, in order."""
    layer = layers()
    channel = await layer.new_channel()
    other = await remote_layer(**layers.options)
    for start in range(0, 1600, 80):
        sending = asyncio.create_task(
            other.call("send_at_once", channel, list(range(start, start + 80)))
        )
        assert await take_numbers(layer, channel, 80) == list(range(start, start + 80))
        await within(sending)


async def test_first_in_first_out_under_many_senders(layers: Layers) -> None:
    """100 senders at once, direct and group messages mixed: each keeps its order on a channel."""
    options = {"capacity": 2 * SENDERS * ROUNDS}
    layer, others = layers(**options), [layers(**options) for _ in range(2)]
    channels = [await layer.new_channel() for _ in range(4)]
    for channel in channels:
        await layer.group_add("room", channel)

    async def send(who: int) -> None:
        sender = [layer, *others][who % 3]
        for number in range(ROUNDS):
            message = {"who": who, "number": number}
            if (who + number) % 3:
                await sender.send(channels[who % 4], message)
            else:
                await sender.group_send("room", message)

    got: dict[tuple[str, int], list[int]] = defaultdict(list)

    async def consume(channel: str) -> None:
        while True:
            message = await layer.receive(channel)
            got[channel, message["who"]].append(message["number"])

    consumers = [asyncio.create_task(consume(channel)) for channel in channels]
    await within(asyncio.gather(*(send(who) for who in range(SENDERS))))
    ends = [layer.send(channel, {"who": -1, "number": 0}) for channel in channels]
    await within(asyncio.gather(*ends))
    await eventually(lambda: sum(who == -1 for _, who in got) == 4)
    await cancel(*consumers)
    for position, channel in enumerate(channels):
        for who in range(SENDERS):
            direct = position == who % 4
            expected = [n for n in range(ROUNDS) if direct or not (who + n) % 3]
            assert got[channel, who] == expected


async def test_order_survives_a_full_batch(layers: Layers) -> None:
    """Messages sent at once to many channels of one process arrive in order on each."""
    layer = layers(capacity=5000)
    channels = [await layer.new_channel() for _ in range(20)]
    await send_round_robin(layer, channels, 2000)
    for position, channel in enumerate(channels):
        numbers = await take_numbers(layer, channel, 100)
        assert numbers == list(range(position, 2000, 20))


async def send_round_robin(layer: RedisChannelLayer, channels: list[str], count: int) -> None:
    """Send numbered messages to the channels in turn, all at once."""
    sends = [
        layer.send(channels[number % len(channels)], message)
        for number, message in enumerate(numbered(count))
    ]
    await within(asyncio.gather(*sends))
