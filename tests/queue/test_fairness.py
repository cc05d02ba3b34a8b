"""Several workers on one general channel: what is prefetched for a quick one is kept from none."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING

import pytest

from support import inside
from support.fleet import received
from support.messages import numbered, take_numbers

if TYPE_CHECKING:
    from channels_redis_queue import RedisChannelLayer
    from support.queue_layers import Layers, StartRemoteLayer

MESSAGES = 2_000
# What each of two workers gets at least, where half would be even. The system's scheduler has its
# share in this, too: on busy machines one process runs when the other doesn't.
FAIR_SHARE = 0.2
TRIES = 15
# Seconds. It takes some 0.005; a worker that kept what it does not ask for would have it for 5.
MILLISECONDS = 0.1


@pytest.mark.parametrize("how", [("send_at_once",), ("send_all", "send")])
async def test_one_who_joins_gets_a_fair_share(
    remote_layer: StartRemoteLayer, layers: Layers, how: tuple[str, ...]
) -> None:
    """A second worker gets its share next to one that drains quickly, of a backlog or a trickle."""
    sender, first, second = [
        await remote_layer(**layers.options, capacity=10_000) for _ in range(3)
    ]
    await first.listen("jobs")
    # Enough for the first one to have as many prefetched as it ever will.
    await sender.send_at_once("jobs", numbered(100))
    await received("jobs", 100, first)
    await second.listen("jobs")
    await sender.send("jobs", {"type": "one.more"})
    before = await received("jobs", 101, first, second)
    await sender.call(*how, "jobs", numbered(MESSAGES))
    after = await received("jobs", 101 + MESSAGES, first, second)
    shares = [(len(now) - len(then)) / MESSAGES for now, then in zip(after, before, strict=True)]
    assert min(shares) > FAIR_SHARE, shares


async def test_what_a_worker_does_not_ask_for_goes_to_others_at_once(layers: Layers) -> None:
    """Messages prefetched for a worker that stops receiving reach an idle one in milliseconds."""
    quick, idle = layers(capacity=1_000), layers(capacity=1_000)
    tries = [await stop_asking(quick, idle) for _ in range(TRIES)]
    seconds = [taken for ahead, taken in tries if ahead]
    # On a busy machine a quick worker is not always quick enough to have some prefetched.
    assert len(seconds) > TRIES / 2
    assert statistics.median(seconds) < MILLISECONDS, seconds


async def stop_asking(quick: RedisChannelLayer, idle: RedisChannelLayer) -> tuple[int, float]:
    """Let one receive most of what is there, and then another one the rest.

    Returns:
        How many messages were prefetched when the first one stopped, and how many seconds later
        the other one had them all.
    """
    await asyncio.gather(*(quick.send("jobs", message) for message in numbered(50)))
    numbers = await take_numbers(quick, "jobs", 40)
    ahead = inside.prefetched(quick, "jobs")
    stopped = time.monotonic()
    numbers += await take_numbers(idle, "jobs", 10)
    seconds = time.monotonic() - stopped
    assert sorted(numbers) == list(range(50))
    return ahead, seconds
