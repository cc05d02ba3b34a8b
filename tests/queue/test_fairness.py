"""Several workers on one general channel: what is prefetched for a quick one is kept from none."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any

import pytest

from support import inside
from support.messages import DEADLINE, within
from support.waiting import eventually

if TYPE_CHECKING:
    from channels_redis_queue import RedisChannelLayer
    from embedded_server import EmbeddedServer
    from support.queue_layers import Layers, RemoteLayer, StartRemoteLayer

MESSAGES = 2_000
# What each of two workers gets at least, where half would be even. The system's scheduler has its
# share in this, too: on busy machines one process runs when the other doesn't.
FAIR_SHARE = 0.2
TRIES = 15
# Seconds. It takes some 0.005; a worker that kept what it does not ask for would have it for 5.
MILLISECONDS = 0.1


async def received(*workers: RemoteLayer) -> list[int]:
    """Return how many messages each worker has got so far."""
    return [await worker.call("count") for worker in workers]


async def all_received(expected: int, *workers: RemoteLayer) -> list[int]:
    """Wait until workers have got so many messages together, and return how many each has."""

    async def done() -> list[int] | None:
        counts = await received(*workers)
        return counts if sum(counts) >= expected else None

    counts = await eventually(done, DEADLINE)
    assert counts is not None
    return counts


@pytest.mark.parametrize("how", ["send_at_once", "send_many"])
async def test_one_who_joins_gets_a_fair_share(
    remote_layer: StartRemoteLayer, redis_server: EmbeddedServer, prefix: str, how: str
) -> None:
    """A second worker gets its share next to one that drains quickly, of a backlog or a trickle."""
    options: dict[str, Any] = {"hosts": [redis_server.url], "prefix": prefix, "capacity": 10_000}
    sender, first, second = [await remote_layer(**options) for _ in range(3)]
    await first.call("drain", "jobs", 1)
    # Enough for the first one to have as many prefetched as it ever will.
    await sender.call("send_at_once", "jobs", list(range(100)))
    await all_received(100, first)
    await second.call("drain", "jobs", 1)
    await sender.call("send_many", "jobs", [100])
    before = await all_received(101, first, second)
    await sender.call(how, "jobs", list(range(101, 101 + MESSAGES)))
    after = await all_received(101 + MESSAGES, first, second)
    shares = [(now - then) / MESSAGES for now, then in zip(after, before, strict=True)]
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
    sends = [quick.send("jobs", {"type": "test.message", "number": number}) for number in range(50)]
    await asyncio.gather(*sends)
    numbers = [(await within(quick.receive("jobs")))["number"] for _ in range(40)]
    ahead = inside.prefetched(quick, "jobs")
    stopped = time.monotonic()
    numbers += [(await within(idle.receive("jobs")))["number"] for _ in range(10)]
    seconds = time.monotonic() - stopped
    assert sorted(numbers) == list(range(50))
    return ahead, seconds
