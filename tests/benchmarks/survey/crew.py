"""Processes that take part in a work, with this one's software."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.processes import Remote, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.survey.trial import Job

SCRIPT = Path(__file__).parents[1] / "crew_process.py"
ON_NODE = Path(__file__).parent  # has the programs
TIMEOUT = 60.0  # seconds for what takes a few


class Crew:
    """Some processes that do the same, each on its own share."""

    def __init__(self, processes: list[Remote]) -> None:
        self._processes = processes

    async def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method in each process; return what each returned."""
        return await asyncio.gather(*(one.call(method, *arguments) for one in self._processes))

    async def replies(self) -> list[Any]:
        """Return the next reply of each process, which a call has announced."""
        return await asyncio.gather(*(one.reply() for one in self._processes))


@contextlib.asynccontextmanager
async def crew(what: str, job: Job, processes: int, *share: Any) -> AsyncIterator[Crew]:
    """Run so many processes until the block ends.

    Args:
        what: A module and a class of this package: an object of it does the work there; or a
            program of Node.js, which does.
        job: Its first argument.
        processes: How many there are.
        share: Its other arguments.
    """
    script, python = (ON_NODE / what, "node") if what.endswith(".js") else (SCRIPT, None)
    async with contextlib.AsyncExitStack() as stack:
        started = []
        for _ in range(processes):
            worker = await WorkerProcess.start(
                script,
                python=python,
                own_session=False,
                what=what,
                job=dataclasses.asdict(job),
                share=share,
            )
            stack.push_async_callback(worker.close)
            started.append(Remote(worker, TIMEOUT))
        together = Crew(started)
        await together.call("ready")
        yield together
