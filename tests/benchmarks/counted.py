"""Work that is counted at the server instead of timed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.measuring import SETTLE_SECONDS, listening
from benchmarks.workloads import GROUP, MESSAGE, join

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from benchmarks.measuring import Bench


async def group_send_bytes(bench: Bench) -> None:
    """Bytes into and out of the server for one `group_send` to 10,000 members of one process."""
    await _count_at_server(bench, _bytes_moved)


async def group_send_calls(bench: Bench) -> None:
    """Commands that the server runs for that `group_send`, those inside scripts included."""
    await _count_at_server(bench, _commands_run)


async def _count_at_server(bench: Bench, counter: Callable[[redis.Redis], int]) -> None:
    """Record what a counter at the server grows by until all 10,000 members have a message."""
    layer = bench.layer
    members = await join(layer, 10_000)
    async with listening(layer, members) as arrivals:
        # The first message loads scripts; only the second is counted.
        arrivals.expect(len(members))
        await layer.group_send(GROUP, MESSAGE)
        await arrivals.all_in()
        await asyncio.sleep(SETTLE_SECONDS)

        start = counter(bench.server)
        looking = counter(bench.server) - start  # Asking the server moves its counters too.
        arrivals.expect(len(members))
        await layer.group_send(GROUP, MESSAGE)
        await arrivals.all_in()
        await asyncio.sleep(SETTLE_SECONDS)  # Acknowledgements are part of what it takes.
        bench.result = counter(bench.server) - start - 2 * looking


def _bytes_moved(server: redis.Redis) -> int:
    stats = server.info("stats")
    return int(stats["total_net_input_bytes"]) + int(stats["total_net_output_bytes"])


def _commands_run(server: redis.Redis) -> int:
    return sum(int(command["calls"]) for command in server.info("commandstats").values())
