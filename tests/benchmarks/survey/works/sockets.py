"""Group messages to real WebSockets behind real servers, and how long until the browsers have them.

Servers and clients are processes of their own. A client says something to its server, whose
consumer sends it to the group.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks.measuring import SETTLE_SECONDS
from benchmarks.survey.crew import crew
from support.browsers import Browsers

if TYPE_CHECKING:
    from benchmarks.survey.trial import Trial

WARM_UP = 2  # messages
AT_LEAST = 5  # messages, however long they take
# Frames of the messages that are sent together; of two at least, and fewer in a short trial.
AT_ONCE = 20_000


async def sockets(trial: Trial) -> None:
    """Send to the room, and again when all have it; then many messages together."""
    job = trial.job
    members = job.parameters["members"]
    browsers = Browsers()
    words = job.message()["text"]
    async with crew("benchmarks.survey.site", job, job.parameters["processes"]) as servers:
        await browsers.connect(await servers.answers(), members)
        await asyncio.sleep(2 * SETTLE_SECONDS)
        try:

            async def say(first: int, count: int) -> float:
                arrived = browsers.expect(count * members)
                began = time.perf_counter()
                for number in range(first, first + count):
                    speaker = browsers.all[number % members]
                    speaker.say({"text": words, "number": number})
                return await arrived - began

            for number in range(WARM_UP):
                await say(number, 1)
            samples: list[float] = []
            trial.begin()
            while trial.unfinished() or len(samples) < AT_LEAST:
                samples.append(await say(len(samples), 1))
            trial.end(len(samples))
            trial.percentiles(samples, "all_")
            together = max(int(AT_ONCE * min(job.seconds, 1)) // members, 2)
            trial.figures["deliveries"] = together * members / await say(0, together)
        finally:
            browsers.close()
