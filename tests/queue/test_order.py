"""Order, and bursts with which a reading consumer keeps up."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from support.messages import cancel, joined, numbered, take_numbers, within
from support.waiting import eventually

if TYPE_CHECKING:
    from support.queue_layers import Layers, StartRemoteLayer

SENDERS = 100
ROUNDS = 8


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
