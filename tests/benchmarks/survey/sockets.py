"""Group messages to real WebSockets behind real servers, and how long until the browsers have them.

Servers and clients are separate processes. A client says something to its server, and the consumer
there sends it to the group.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks.survey.consumers import SETTLE_SECONDS
from benchmarks.survey.crew import crew
from support.browsers import Browsers

if TYPE_CHECKING:
    from benchmarks.survey.trial import Trial

WARM_UP = 2  # messages
AT_LEAST = 5  # messages, however long they take
# Frames of the messages that are under way together: of two messages at least.
UNDER_WAY = 20_000
# Frames of all messages that are sent so, of eight messages at least; fewer in a short trial.
TOGETHER = 60_000


async def sockets(trial: Trial) -> None:
    """Send to the room, and again when all have it; then keep many messages under way."""
    job = trial.job
    members = job.parameters["members"]
    browsers = Browsers()
    words = job.message()["text"]
    async with crew("site.Site", job, job.parameters["processes"]) as servers:
        await browsers.connect(await servers.call("port"), members)
        await asyncio.sleep(2 * SETTLE_SECONDS)
        try:

            def say(number: int) -> None:
                browsers.all[number % members].say({"text": words, "number": number})

            async def say_and_wait(number: int) -> float:
                arrived = browsers.expect(members)
                began = time.perf_counter()
                say(number)
                return await arrived - began

            async def keep_under_way(count: int, window: int) -> float:
                arrived = [browsers.expect(members) for _ in range(count)]
                began = time.perf_counter()
                for number in range(count):
                    if number >= window:
                        await arrived[number - window]
                    say(number)
                return await arrived[-1] - began

            for number in range(WARM_UP):
                await say_and_wait(number)
            samples: list[float] = []
            await servers.call("forget_garbage")
            trial.begin()
            while trial.unfinished() or len(samples) < AT_LEAST:
                samples.append(await say_and_wait(len(samples)))
            trial.end(len(samples))
            trial.percentiles(samples, "all_")
            count = max(int(TOGETHER * min(job.seconds, 1)) // members, 8)
            took = await keep_under_way(count, max(UNDER_WAY // members, 2))
            trial.figures["deliveries"] = count * members / took
        finally:
            browsers.close()
