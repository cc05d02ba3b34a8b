"""Each benchmark runs on a small scale, and all work is done."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import recovery
from benchmarks.compare import FLOORS
from benchmarks.presence.fleet import Plan
from benchmarks.presence.report import broken
from benchmarks.presence.trials import run as run_presence
from benchmarks.survey import plan
from benchmarks.survey.contenders import CONTENDERS
from benchmarks.survey.limit import record, replayed
from benchmarks.survey.results import METRICS
from benchmarks.survey.running import run
from benchmarks.survey.services import RedisService, redis_service
from benchmarks.survey.trial import Job

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

PYTHON = Path(sys.executable)
DEADLINE = 50.0  # seconds for work that takes one; a loaded machine may need some
SMALL: dict[str, dict[str, Any]] = {
    "fan-out": {"members": 5, "processes": 2},
    "group": {"members": 5},
    "sockets": {"members": 5, "processes": 2, "broadcast": True, "compression": True},
    "workers": {"workers": 2},
    "synchronous": {"threads": 2},
    "load": {"members": 4, "processes": 2, "groups": 2, "rate": 100},
}
WORKS = dict.fromkeys([*plan.TITLES, *(work.name for work in FLOORS.values()), "load"])


@pytest.mark.parametrize("work", WORKS)
def test_work(work: str, own_server: EmbeddedServer) -> None:
    """The queue layer does it, and it is counted at the server."""
    service = RedisService([own_server], [own_server.url])
    job = Job("queue", service.hosts, work, SMALL.get(work, {}), seconds=0.05)
    figures = run(job, PYTHON, service, timeout=DEADLINE)
    assert figures.keys() >= {"server_cpu", "client_cpu", "calls", "bytes"}
    assert figures.keys() <= METRICS.keys() or work == "load"
    assert figures["calls"] > 0
    assert not figures.get("twice")
    assert not figures.get("lost")


@pytest.mark.parametrize(
    ("contender", "work", "parameters"),
    [("queue", "workers", {"workers": 1}), ("pubsub", "churn", {})],
)
def test_replay(contender: str, work: str, parameters: dict[str, int]) -> None:
    """The server runs as many commands for bare redis-py as for the layer."""
    with redis_service(shards=1, cluster=False) as service:
        job = Job(contender, service.hosts, work, parameters)
        figures = replayed(job, record(job, PYTHON, service), PYTHON, service)
    assert figures["rate"] > 0


def test_plan() -> None:
    """All work has contenders, and a quick cell."""
    cells = list(plan.cells())
    assert all(set(cell.contenders) <= CONTENDERS.keys() for cell in cells)
    assert {cell.work for cell in cells if cell.quick} >= plan.TITLES.keys() - {"idle"}


@pytest.mark.timeout(180)
@pytest.mark.slow
def test_presence() -> None:
    """With quick heartbeats, the documentation's promises hold on a small scale."""
    intervals = {"SILENT_AFTER": 3, "BEAT_INTERVAL": 0.5, "SECOND_LOOK_AFTER": 2}
    small = Plan(40, rooms=4, wave=400, changes=10, intervals=intervals, options={"grace": 1})
    with redis_service(shards=2, cluster=False) as service:
        figures = asyncio.run(run_presence("queue", service, small))
    assert list(broken(figures)) == []


@pytest.mark.timeout(120)
def test_recovery() -> None:
    """Browsers that resume in the same turn share a read of the history."""
    browsers, messages = 2 * recovery.AT_ONCE, recovery.AT_ONCE
    with redis_service(shards=1, cluster=False) as service:
        figures = asyncio.run(recovery.run("pubsub", service, browsers=browsers, messages=messages))
    assert 0 < figures["resume_reads"] <= 4
