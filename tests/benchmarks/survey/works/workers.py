"""Worker processes that share a general channel, as `manage.py runworker` does."""

from __future__ import annotations

import asyncio
import collections
import time
from typing import TYPE_CHECKING

from benchmarks.survey.crew import crew

if TYPE_CHECKING:
    from benchmarks.survey.trial import Trial

CHANNEL = "thumbnails"
AT_A_TIME = 50  # senders
WARM_UP = 200  # messages
MESSAGES_A_SECOND = 6_000  # so many are sent for each second to be measured


async def workers(trial: Trial) -> None:
    """Send numbered messages from this process until the workers have handled as many."""
    layer = trial.job.layer()
    count = trial.job.parameters["workers"]
    messages = int(trial.job.seconds * MESSAGES_A_SECOND)
    async with crew("benchmarks.survey.worker", trial.job, count) as together:
        await together.answers()  # They wait.
        handled = collections.Counter[int]()

        async def handle(numbers: range) -> None:
            waiting = iter(numbers)

            async def sender() -> None:
                for number in waiting:
                    await layer.send(CHANNEL, trial.job.message(number=number))

            await asyncio.gather(*(sender() for _ in range(AT_A_TIME)))
            while sum(handled.values()) < numbers.stop:
                together.tell("handled?")
                for numbers_of_one in await together.answers():
                    handled.update(numbers_of_one)
                await asyncio.sleep(0.002)

        await handle(range(WARM_UP))
        trial.begin()
        began = time.perf_counter()
        await handle(range(WARM_UP, WARM_UP + messages))
        trial.figures["rate"] = messages / (time.perf_counter() - began)
        trial.end(messages)
        # What is handled late was sent once and is on its way, or comes for the second time.
        await asyncio.sleep(0.3)
        together.tell("handled?")
        for numbers_of_one in await together.answers():
            handled.update(numbers_of_one)
        trial.figures["twice"] = sum(times - 1 for times in handled.values())
        trial.figures["lost"] = WARM_UP + messages - len(handled)
    await layer.flush()
