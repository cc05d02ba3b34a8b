"""Takes messages from the queue layer's keys with redis-py alone, as its reader does.

As a program it is a process of a crew, as a worker is: for each number from above it says when so
many messages have arrived.
"""

from __future__ import annotations

import asyncio
import json
import sys

from benchmarks.survey.crew import assignment
from benchmarks.survey.raw import Taker, Wire, running, wire_to
from benchmarks.survey.recording import Recording
from benchmarks.survey.trial import say


def taker(wire: Wire, recording: Recording) -> Taker:
    """Return a reader that asks what was asked in the work."""
    steps = [*recording.work, *recording.setup]
    wait = next(step.words for step in steps if step.role == "wait")
    return Taker(wire, wait, [step.words for step in steps if step.role == "take"])


async def main() -> None:
    """Be a process of a crew."""
    job, _ = assignment(sys.stdin.readline())
    read = asyncio.get_running_loop().run_in_executor
    async with wire_to(job) as wire:
        reader = taker(wire, Recording.of(job))
        async with running(reader):
            say(None)
            while line := await read(None, sys.stdin.readline):
                await reader.arrivals.until(json.loads(line))
                say(None)


if __name__ == "__main__":
    asyncio.run(main())
