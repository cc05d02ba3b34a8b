"""One round of a work, done by a process of the contender's environment."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from benchmarks.survey.services import cpu_seconds
from embedded_server import dies_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.survey.services import Service
    from benchmarks.survey.trial import Job
REPOSITORY = Path(__file__).parents[3]


class Failed(Exception):
    """The work was not done; the message says why."""


def run(job: Job, python: Path, service: Service, *, timeout: float) -> dict[str, float]:
    """Do the job in a new process and return its figures, with those counted at the servers.

    Args:
        job: What is to be done.
        python: The Python of the contender's environment.
        service: The servers that `job.hosts` names.
        timeout: Seconds after which it has failed.

    Raises:
        Failed: It ended without figures, or took too long.
    """
    service.empty()
    with tempfile.TemporaryFile("w+") as errors, _agent(python, errors) as process:
        late = threading.Event()

        def end_it() -> None:
            late.set()
            _kill(process)

        overtime = threading.Timer(timeout, end_it)
        overtime.start()
        try:
            figures = _conversation(process, job, service)
        finally:
            overtime.cancel()
        if figures is not None:
            return figures
        if late.is_set():
            raise Failed(f"not done within {timeout:.0f} s")
        errors.seek(0)
        # Of a traceback the last line says what it was.
        raise Failed((errors.read().splitlines() or ["it ended without output"])[-1])


@contextlib.contextmanager
def _agent(python: Path, errors: IO[str]) -> Iterator[subprocess.Popen[str]]:
    """Run an agent in a new session, and end all of that session at the end."""
    paths = (REPOSITORY / "tests", REPOSITORY / "docs/examples")
    with subprocess.Popen(
        [str(python), "-m", "benchmarks.survey.agent"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        start_new_session=True,
        preexec_fn=dies_with_parent(),  # noqa: PLW1509 - it only calls prctl.
    ) as process:
        try:
            yield process
        finally:
            _kill(process)


def _conversation(
    process: subprocess.Popen[str], job: Job, service: Service
) -> dict[str, float] | None:
    """Send the process its job, count at its marks, and return all figures, or None."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("both must be pipes")
    counts: list[Mapping[str, float]] = []
    operations = 1
    with contextlib.suppress(BrokenPipeError):
        _write(process.stdin, dataclasses.asdict(job))
        for line in process.stdout:
            report = json.loads(line)
            if "figures" in report:
                return {**report["figures"], **_for_an_operation(counts, operations)}
            operations = report.get("operations", operations)
            if report["mark"] == "begin":
                # The first look is counted by the second, so what looking costs is known.
                counts += [_count(process, service), _count(process, service)]
            if report["mark"] == "end":
                counts.append(_count(process, service))
            _write(process.stdin, None)
    return None


def _write(pipe: IO[str], what: Any) -> None:
    pipe.write(json.dumps(what) + "\n")
    pipe.flush()


def _count(process: subprocess.Popen[str], service: Service) -> Mapping[str, float]:
    return {**service.counters(), "client_cpu": _session_cpu(process.pid)}


def _for_an_operation(counts: list[Mapping[str, float]], operations: int) -> dict[str, float]:
    """Return what each counter grew by for an operation, without what counting itself did."""
    first, base, end = counts
    figures: dict[str, float] = {}
    for name, last in end.items():
        looking = max(base[name] - first[name], 0.0)
        figures[name] = max(last - base[name] - looking, 0.0) / operations
    return figures


def _session_cpu(leader: int) -> float:
    """Return the CPU time of a process and of all that it has started."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if os.getsid(int(entry.name)) == leader:
                    total += cpu_seconds(int(entry.name))
    return total


def _kill(process: subprocess.Popen[str]) -> None:
    """End a process and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
