"""Group messages to members in this process and others, and how long until they have them.

The clock of `time.monotonic` is the same in all processes of a machine.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.survey.crew import crew
from benchmarks.survey.members import Members
from benchmarks.workloads import GROUP

if TYPE_CHECKING:
    from benchmarks.survey.trial import Trial

WARM_UP = 2  # messages
AT_LEAST = 10  # messages, however long they take


async def fan_out(trial: Trial) -> None:
    """Send to the group, and again when all have it; the sender's process has a share of them."""
    job = trial.job
    layer = job.layer()
    processes = job.parameters["processes"]
    share, rest = divmod(job.parameters["members"], processes)
    async with (
        crew("benchmarks.survey.members", job, processes - 1, members=share) as others,
        Members(layer, share + rest) as here,
    ):
        await others.answers()  # They have joined.

        async def one(number: int) -> float:
            began = time.monotonic()
            arrived = here.expect(number)
            await layer.group_send(GROUP, job.message(number=number))
            times: list[float] = [await arrived, *await others.answers()]
            return max(times) - began

        for number in range(WARM_UP):
            await one(number)
        trial.begin()
        began, samples = time.perf_counter(), list[float]()
        while trial.unfinished() or len(samples) < AT_LEAST:
            samples.append(await one(WARM_UP + len(samples)))
        took = time.perf_counter() - began
        trial.end(len(samples))
        trial.figures["deliveries"] = len(samples) * job.parameters["members"] / took
        trial.percentiles(samples, "all_")
    await layer.flush()
