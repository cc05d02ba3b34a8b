"""Processes that take part in a work: they have this one's software and talk in lines of JSON."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import sys
from asyncio.subprocess import PIPE
from typing import TYPE_CHECKING, Any

from benchmarks.survey.trial import Job

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Mapping


LINE_LIMIT = 64 * 1024 * 1024  # bytes; a process tells all its durations in one line


class Crew:
    """Some processes that do the same, each on its own share.

    Raises:
        EOFError: One of them ended before it answered.
    """

    def __init__(self, processes: list[Process]) -> None:
        self._processes = processes

    def tell(self, what: Any) -> None:
        """Send something to each."""
        for process in self._processes:
            _pipe(process.stdin).write(json.dumps(what).encode() + b"\n")

    async def answers(self) -> list[Any]:
        """Return what each says next."""
        return await asyncio.gather(*map(_answer, self._processes))


async def _answer(process: Process) -> Any:
    line = await _pipe(process.stdout).readline()
    if not line:
        raise EOFError(f"a process of the work ended with status {await process.wait()}")
    return json.loads(line)


def _pipe(pipe: Any) -> Any:
    """Return an end of a pipe that was requested, so exists."""
    return pipe


@contextlib.asynccontextmanager
async def crew(module: str, job: Job, processes: int, **share: Any) -> AsyncIterator[Crew]:
    """Run a module in so many new processes, each of which gets the job and its share as a line."""
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, stdin=PIPE, stdout=PIPE, limit=LINE_LIMIT
        )
        for _ in range(processes)
    ]
    try:
        together = Crew(started)
        together.tell({"job": dataclasses.asdict(job), **share})
        yield together
    finally:
        for process in started:
            _pipe(process.stdin).close()
        for process in started:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), 10)
            if process.returncode is None:
                process.kill()
                await process.wait()


def assignment(line: str) -> tuple[Job, Mapping[str, Any]]:
    """Return the job and the share from the first line that a process of a crew gets."""
    told = json.loads(line)
    return Job(**told.pop("job")), told
