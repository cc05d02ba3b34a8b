"""Work on groups whose members are all in one process."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks.measuring import listening
from benchmarks.workloads import GROUP, join

if TYPE_CHECKING:
    from benchmarks.survey.trial import Trial

AT_A_TIME = 50
MEMBERS = 20
VISITORS = 20


async def broadcasts(trial: Trial) -> None:
    """50 messages at once to the group, until all members have all of them."""
    layer, message = trial.job.layer(), trial.job.message()
    samples: list[float] = []
    async with listening(layer, await join(layer, MEMBERS)) as arrivals:

        async def volley() -> None:
            arrivals.expect(AT_A_TIME * MEMBERS)
            began = time.perf_counter()
            await asyncio.gather(*(layer.group_send(GROUP, message) for _ in range(AT_A_TIME)))
            await arrivals.all_in()
            samples.append(time.perf_counter() - began)

        for _ in range(2):
            await volley()
        samples.clear()
        trial.begin()
        began = time.perf_counter()
        while trial.unfinished():
            await volley()
        deliveries = len(samples) * AT_A_TIME * MEMBERS
        trial.figures["deliveries"] = deliveries / (time.perf_counter() - began)
        trial.end(len(samples) * AT_A_TIME)
    trial.percentiles(samples, "all_")
    await layer.flush()


async def churn(trial: Trial) -> None:
    """Consumers take a channel, join the group and leave it, 20 at a time."""
    layer = trial.job.layer()
    samples: list[float] = []

    async def visitor() -> None:
        for _ in range(5):
            began = time.perf_counter()
            channel = await layer.new_channel()
            await layer.group_add(GROUP, channel)
            await layer.group_discard(GROUP, channel)
            samples.append(time.perf_counter() - began)

    async def one_pass() -> None:
        await asyncio.gather(*(visitor() for _ in range(VISITORS)))

    await one_pass()
    samples.clear()
    trial.begin()
    began = time.perf_counter()
    while trial.unfinished():
        await one_pass()
    trial.figures["rate"] = len(samples) / (time.perf_counter() - began)
    trial.end(len(samples))
    trial.percentiles(samples)
    await layer.flush()
