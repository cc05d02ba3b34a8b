"""The faults that the driver causes."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING

from benchmarks.soak.plan import WORKERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.soak.fleet import Fleet
    from benchmarks.soak.host import Host

CONNECTION, WORKER, RESTART, FREEZE = "connection", "worker", "restart", "freeze"
KILLS = [CONNECTION] * 10
# In this order. The worker first, as what it leaves in Redis takes longest to expire.
FAULTS = (
    WORKER,
    *[CONNECTION] * 6,
    FREEZE,
    *[CONNECTION] * 3,
    RESTART,
    *[CONNECTION] * 4,
)


class Saboteur:
    """Breaks things, and counts what it has broken.

    Args:
        host: The server of the layer.
        fleet: The workers.
    """

    def __init__(self, host: Host, fleet: Fleet) -> None:
        self._host = host
        self._fleet = fleet
        self._replacing: list[asyncio.Task[None]] = []
        self.done: Counter[str] = Counter()

    async def rampage(self, faults: Sequence[str], seconds: float) -> None:
        """Break this, spread over so many seconds; return when all workers are there again."""
        for fault in faults:
            if fault == WORKER:
                # Never the first one, whose figures are compared.
                index = random.randrange(1, WORKERS)
                self._replacing.append(asyncio.create_task(self._fleet.replace(index)))
                self.done["workers killed"] += 1
            elif fault == CONNECTION:
                self.done["connections killed"] += self._host.kill_connection()
            elif fault == RESTART:
                self._host.restart()
                self.done["restarts, empty"] += 1
            else:
                await self._host.freeze()
                self.done["freezes"] += 1
            await asyncio.sleep(seconds / len(faults))
        await asyncio.gather(*self._replacing)
        self._replacing.clear()

    async def close(self) -> None:
        """Let no worker be replaced any more."""
        for task in self._replacing:
            task.cancel()
        await asyncio.gather(*self._replacing, return_exceptions=True)
