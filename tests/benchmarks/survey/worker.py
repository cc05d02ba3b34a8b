"""A worker process of a crew: it handles what arrives on a general channel, and tells which."""

from __future__ import annotations

import asyncio
import sys

from benchmarks.survey.crew import assignment
from benchmarks.survey.trial import say
from benchmarks.survey.works import JOBS, SETTLE_SECONDS


async def main() -> None:
    """Handle messages; answer each line from above with the numbers of those handled since."""
    job, _ = assignment(sys.stdin.readline())
    layer = job.layer()
    numbers: list[int] = []

    async def handle() -> None:
        while True:
            numbers.append((await layer.receive(JOBS))["number"])

    handling = asyncio.ensure_future(handle())
    await asyncio.sleep(SETTLE_SECONDS)
    say(None)
    read = asyncio.get_running_loop().run_in_executor
    while await read(None, sys.stdin.readline):
        say(numbers)
        numbers.clear()
    handling.cancel()
    await asyncio.gather(handling, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
