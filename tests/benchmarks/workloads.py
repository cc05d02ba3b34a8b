"""The work that is timed: each function runs on any channel layer.

A function sets up what it needs, hands one pass of the work to `bench.measure`, and takes its
consumers down again. Only the pass is timed.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

from benchmarks.measuring import listening

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from channels.layers import BaseChannelLayer

    from benchmarks.measuring import Bench

MESSAGE = {"type": "chat.message", "user": "ada", "text": "The quick brown fox jumps."}
GROUP = "room"


async def latency(bench: Bench) -> None:
    """One message in flight: `send`, until the waiting consumer has it."""
    layer = bench.layer
    channel = await layer.new_channel()
    async with listening(layer, [channel]) as arrivals:

        async def one_pass() -> None:
            for _ in range(200):
                arrivals.expect(1)
                await layer.send(channel, MESSAGE)
                await arrivals.all_in()

        await bench.measure(one_pass, operations=200)


async def send_then_receive(bench: Bench) -> None:
    """One message in flight: `send`, and only then `receive`, in one task."""
    layer = bench.layer
    channel = await layer.new_channel()

    async def one_pass() -> None:
        for _ in range(200):
            await layer.send(channel, MESSAGE)
            await layer.receive(channel)

    await bench.measure(one_pass, operations=200)


async def many_channels(bench: Bench) -> None:
    """50 senders, each to a channel of its own, send 10,000 messages until all have arrived."""
    layer = bench.layer
    channels = [await layer.new_channel() for _ in range(50)]
    async with listening(layer, channels) as arrivals:

        async def sender(channel: str, messages: int) -> None:
            for _ in range(messages):
                await layer.send(channel, MESSAGE)

        async def burst(each: int) -> None:
            arrivals.expect(each * len(channels))
            await asyncio.gather(*(sender(channel, each) for channel in channels))
            await arrivals.all_in()

        await bench.measure(
            functools.partial(burst, 200),
            warm_up=functools.partial(burst, 10),
            operations=10_000,
        )


def group_send(members: int, sends: int) -> Callable[[Bench], Coroutine[None, None, None]]:
    """Return the work of `sends` group messages, one after the other, to `members` consumers."""

    async def work(bench: Bench) -> None:
        layer = bench.layer
        channels = await join(layer, members)
        async with listening(layer, channels) as arrivals:

            async def one_pass() -> None:
                for _ in range(sends):
                    arrivals.expect(members)
                    await layer.group_send(GROUP, MESSAGE)
                    await arrivals.all_in()

            await bench.measure(one_pass, operations=sends)

    return work


async def concurrent_group_send(bench: Bench) -> None:
    """50 group messages at once to 20 consumers, until all have all of them."""
    layer = bench.layer
    channels = await join(layer, 20)
    async with listening(layer, channels) as arrivals:

        async def one_pass() -> None:
            for _ in range(5):
                arrivals.expect(50 * 20)
                await asyncio.gather(*(layer.group_send(GROUP, MESSAGE) for _ in range(50)))
                await arrivals.all_in()

        await bench.measure(one_pass, operations=5)


async def churn(bench: Bench) -> None:
    """Consumers come and go, 20 at a time: `new_channel`, `group_add`, `group_discard`."""
    layer = bench.layer

    async def visitor() -> None:
        for _ in range(20):
            channel = await layer.new_channel()
            await layer.group_add(GROUP, channel)
            await layer.group_discard(GROUP, channel)

    async def one_pass() -> None:
        await asyncio.gather(*(visitor() for _ in range(20)))

    await bench.measure(one_pass, operations=20 * 20)


async def drain(bench: Bench) -> None:
    """One receiver reads 500 messages that wait in a general channel."""
    layer = bench.layer

    async def fill() -> None:
        for _ in range(10):
            await asyncio.gather(*(layer.send("jobs", MESSAGE) for _ in range(50)))

    async def one_pass() -> None:
        for _ in range(500):
            await layer.receive("jobs")

    await bench.measure(one_pass, before=fill, operations=500)


async def join(layer: BaseChannelLayer, members: int) -> list[str]:
    """Put so many new channels into the group, 50 at a time, and return them."""
    channels = [await layer.new_channel() for _ in range(members)]
    add = functools.partial(layer.group_add, GROUP)
    for start in range(0, members, 50):
        await asyncio.gather(*map(add, channels[start : start + 50]))
    return channels
