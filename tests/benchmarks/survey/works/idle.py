"""The cost of idle consumers."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring import SETTLE_SECONDS
from benchmarks.workloads import join

if TYPE_CHECKING:
    from benchmarks.survey.trial import Trial

WARM_UP = 10  # consumers
CONSUMERS = 2_000
PER = 1_000  # consumers that a figure is for


async def idle(trial: Trial) -> None:
    """Let consumers join the group and wait, each in a task of its own."""
    layer = trial.job.layer()

    async def start(count: int) -> list[asyncio.Task[object]]:
        waiting = [asyncio.ensure_future(layer.receive(one)) for one in await join(layer, count)]
        await asyncio.sleep(SETTLE_SECONDS)
        return waiting

    consumers = await start(WARM_UP)
    before = _resident()
    trial.begin()
    consumers += await start(CONSUMERS)
    trial.end(CONSUMERS // PER)
    trial.figures["client_memory"] = (_resident() - before) / CONSUMERS * PER
    for consumer in consumers:
        consumer.cancel()
    await asyncio.gather(*consumers, return_exceptions=True)
    await layer.flush()


def _resident() -> int:
    """Return how many bytes of memory this process occupies."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
