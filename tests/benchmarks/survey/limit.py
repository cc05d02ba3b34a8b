"""Measures how far our layers are from what redis-py alone can do with the same commands.

A layer does a work while the server reports its commands; then a raw client sends the same
commands again, see `replaying`. Raw redis-py does not make and read messages, assign replies
to callers, deliver a group's message to each member, or recover from faults.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.survey.recording import recorder
from benchmarks.survey.results import Row
from benchmarks.survey.running import Failed, run
from benchmarks.survey.trial import Job

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.survey.recording import Recording
    from benchmarks.survey.services import RedisService

TIMEOUT = 30.0  # seconds for a recording or a replay
RECORDED = 0.1  # seconds of a work that are recorded
# What the server has run for an operation may differ by so much, or it was not the same work.
TOLERANCE = 0.1

# The main paths, as they are in the plan.
PATHS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("one-in-flight", {}),
    ("many-channels", {}),
    ("fan-out", {"members": 100, "processes": 1}),
    ("fan-out", {"members": 1_000, "processes": 1}),
    ("broadcasts", {}),
    ("churn", {}),
    ("workers", {"workers": 1}),
)


def paths(contender: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the main paths of one of our layers: works and their parameters."""
    for work, parameters in PATHS:
        if contender == "queue" or work != "workers":
            yield work, parameters


def limits(
    pythons: Mapping[str, Path], redis: RedisService, rounds: int
) -> Iterator[tuple[Row, Row]]:
    """Yield for each main path of our layers what they do, and what raw redis-py does.

    The rows are those of the layer and of "raw-queue" or "raw-pubsub". Both are measured in turn,
    so that what slows this machine down slows both.

    Args:
        pythons: The Python of each contender's environment.
        redis: One server.
        rounds: How often each is measured.
    """
    for contender in ("queue", "pubsub"):
        if contender in pythons:
            for work, parameters in paths(contender):
                job = Job(contender, redis.hosts, work, parameters)
                yield _limit(job, pythons[contender], redis, rounds)


def _limit(job: Job, python: Path, redis: RedisService, rounds: int) -> tuple[Row, Row]:
    ours = Row(job.work, job.parameters, job.contender)
    raw = Row(job.work, job.parameters, f"raw-{job.contender}")
    try:
        for _ in range(rounds):
            _add(ours, run(job, python, redis, timeout=TIMEOUT))
            _add(raw, replayed(job, record(job, python, redis), python, redis))
    except Failed as failure:
        raw = Row(job.work, job.parameters, raw.contender, note=str(failure))
    return ours, raw


def replayed(job: Job, recording: Recording, python: Path, redis: RedisService) -> dict[str, float]:
    """Send again what a layer has sent for a job, and return the figures.

    Raises:
        Failed: It could not be done, or was not the same work.
    """
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        file = Path(folder) / "recording.json"
        recording.save(file)
        parameters = {**job.parameters, "work": job.work, "recording": str(file)}
        again = Job(job.contender, redis.hosts, "replay", parameters)
        figures = run(again, python, redis, timeout=TIMEOUT)
    require_same_work(recording.calls, figures["calls"])
    return figures


def _add(row: Row, figures: Mapping[str, float]) -> None:
    for metric, figure in figures.items():
        row.figures.setdefault(metric, []).append(figure)


def record(job: Job, python: Path, redis: RedisService) -> Recording:
    """Let a layer do a job, for a short time, and return what it has sent.

    Raises:
        Failed: It did not do it.
    """
    brief = Job(job.contender, job.hosts, job.work, job.parameters, job.options, RECORDED)
    with recorder(redis.servers[0]) as listening:
        figures = run(brief, python, redis, timeout=TIMEOUT, on_mark=listening.mark)
        return listening.recording(figures["calls"])


def require_same_work(recorded: float, replayed: float) -> None:
    """Make sure that the server has done for the raw client what it does for the layer.

    Raises:
        Failed: It has run more or fewer commands for an operation.
    """
    if abs(replayed - recorded) > TOLERANCE * recorded:
        raise Failed(
            f"not the same work: {replayed:.2f} commands for an operation, not {recorded:.2f}"
        )
