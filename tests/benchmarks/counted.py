"""Work that is counted at the server instead of timed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.measuring import SETTLE_SECONDS, listening
from benchmarks.workloads import GROUP, MESSAGE, join

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import redis

    from benchmarks.measuring import Bench

    Counter = Callable[[redis.Redis], int]


MEMBERS = 10_000


async def group_send_bytes(bench: Bench) -> None:
    """Bytes into and out of the server for one `group_send` to 10,000 members of one process."""
    await _count_group_send(bench, _bytes_moved)


async def group_send_calls(bench: Bench) -> None:
    """Commands that the server runs for that `group_send`, those inside scripts included."""
    await _count_group_send(bench, _commands_run)


async def delivery_bytes(bench: Bench) -> None:
    """Bytes into and out of the server from `group_send` until all 10,000 members have it."""
    async with listening(bench.layer, await join(bench.layer, MEMBERS)) as arrivals:

        async def deliver() -> None:
            arrivals.expect(MEMBERS)
            await bench.layer.group_send(GROUP, MESSAGE)
            await arrivals.all_in()
            await asyncio.sleep(SETTLE_SECONDS)  # Acknowledgements are part of what it takes.

        await _count(bench, _bytes_moved, deliver)


async def _count_group_send(bench: Bench, counter: Counter) -> None:
    """Count the sender's work, without receivers."""
    await join(bench.layer, MEMBERS)
    await _count(bench, counter, lambda: bench.layer.group_send(GROUP, MESSAGE))


async def _count(bench: Bench, counter: Counter, work: Callable[[], Awaitable[None]]) -> None:
    """Record what a counter at the server grows by while the work is done.

    It is done once before, which loads scripts.
    """
    await work()
    start = counter(bench.server)
    looking = counter(bench.server) - start  # Asking the server moves its counters too.
    await work()
    bench.result = counter(bench.server) - start - 2 * looking


def _bytes_moved(server: redis.Redis) -> int:
    stats = server.info("stats")
    return int(stats["total_net_input_bytes"]) + int(stats["total_net_output_bytes"])


def _commands_run(server: redis.Redis) -> int:
    return sum(int(command["calls"]) for command in server.info("commandstats").values())
