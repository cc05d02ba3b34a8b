"""The works of the survey end, with the figures that they promise; failures say what failed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.survey import plan
from benchmarks.survey.contenders import CONTENDERS
from benchmarks.survey.report import amount, better, table
from benchmarks.survey.results import METRICS, Results, Row
from benchmarks.survey.running import Failed, run
from benchmarks.survey.services import NoService, RedisService
from benchmarks.survey.trial import Job
from benchmarks.survey.works import WORKS

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer

PYTHON = Path(sys.executable)
DEADLINE = 50.0  # seconds for work that takes one; a loaded machine may need some
SMALL: dict[str, dict[str, Any]] = {
    "fan-out": {"members": 5, "processes": 2},
    "sockets": {"members": 5, "processes": 2, "broadcast": True, "compression": True},
    "workers": {"workers": 2},
    "synchronous": {"threads": 2},
}


def job(contender: str, work: str, *hosts: str, **parameters: Any) -> Job:
    """Make a job that is soon done."""
    return Job(contender, list(hosts), work, parameters or SMALL.get(work, {}), seconds=0.05)


@pytest.mark.parametrize("work", plan.TITLES)
def test_work_ends_with_figures(work: str, own_server: EmbeddedServer) -> None:
    """Each work is done by our queue layer, and counted at the server, in metrics that we know."""
    service = RedisService([own_server], [own_server.url])
    figures = run(job("queue", work, own_server.url), PYTHON, service, timeout=DEADLINE)
    assert figures.keys() >= {"server_cpu", "client_cpu", "calls", "bytes"}
    assert figures.keys() <= METRICS.keys()
    assert all(figure >= 0 for figure in figures.values())
    assert figures["calls"] > 0
    assert not figures.get("twice")
    assert not figures.get("lost")


def test_failure_tells_the_last_words() -> None:
    """The error contains what the process wrote before it died."""
    with pytest.raises(Failed, match="no-such-work"):
        run(job("memory", "no-such-work"), PYTHON, NoService(), timeout=DEADLINE)


def test_overtime_is_a_failure(own_server: EmbeddedServer) -> None:
    """Work that does not end is ended, and the time that it had is in the error."""
    own_server.pause()
    try:
        with pytest.raises(Failed, match="not done within 1 s"):
            run(job("queue", "churn", own_server.url), PYTHON, NoService(), timeout=1.0)
    finally:
        own_server.resume()


def test_plan_names_what_there_is() -> None:
    """Each cell is of a work and of contenders that exist, and all works have a quick cell."""
    cells = list(plan.cells())
    assert {cell.work for cell in cells} == plan.TITLES.keys() <= WORKS.keys()
    assert all(set(cell.contenders) <= CONTENDERS.keys() for cell in cells)
    assert {cell.work for cell in cells if cell.quick} >= plan.TITLES.keys() - {"idle"}
    named = [(cell.work, *sorted(cell.parameters.items())) for cell in cells]
    assert len(set(named)) == len(named)


@pytest.mark.parametrize(
    ("figure", "unit", "told"),
    [
        (999.9e-6, "s", "1.00 ms"),
        (4e-7, "s", "400 ns"),
        (0.0, "s", "0 ns"),
        (20_512.3, "1/s", "20,500/s"),
        (8_090, "bytes", "7.90 KiB"),
        (1_004, "connections", "1,004"),
        (0.01234, "commands", "0.0123"),
    ],
)
def test_amount_has_three_digits(figure: float, unit: str, told: str) -> None:
    """A figure is rounded, in the scale that suits; a count is exact."""
    assert amount(figure, unit) == told


@pytest.mark.parametrize(
    ("metric", "told"), [("p50", "3.0 (2.0\N{EN DASH}5.0)"), ("rate", "0.33 (0.20\N{EN DASH}0.50)")]
)
def test_ratio_compares_the_rounds_in_pairs(metric: str, told: str) -> None:
    """Less time is better, and more messages are; the range is that of the rounds."""
    ours = Row("churn", {}, "queue", {metric: [1.0, 2.0, 3.0]})
    theirs = Row("churn", {}, "queue-4.3", {metric: [2.0, 6.0, 15.0]})
    assert str(better(ours, theirs, metric)) == told


def test_run_ends_with_a_table() -> None:
    """It has the figures of each contender beside ours, and says who failed or was not there."""
    big = {"payload": 10_000}
    rows = [
        Row("many-channels", {}, "queue", {"rate": [30.0, 60.0]}),
        Row("many-channels", {}, "queue-4.3", {"rate": [20.0, 30.0]}),
        Row("many-channels", big, "queue", note="Traceback:\nTooLarge: 1\n"),
        Row("many-channels", {}, "raw-queue", {"rate": [60.0, 120.0]}),
    ]
    lines = table(Results({}, absent={"nats": "no nats-server"}, rows=rows)).splitlines()
    assert lines[0] == plan.TITLES["many-channels"]
    assert [line.split() for line in lines[1:5]] == [
        ["with", "contender", "metric", "median", "least", "greatest", "x", "4.3.0", "of", "raw"],
        ["-", "queue", "rate", "45.0/s", "30.0/s", "60.0/s", "1.8", "(1.5\N{EN DASH}2.0)", "50%"],
        ["-", "queue-4.3", "rate", "25.0/s", "20.0/s", "30.0/s"],
        ["-", "raw-queue", "rate", "90.0/s", "60.0/s", "120/s"],
    ]
    assert lines[6:8] == [
        "nats was not measured: no nats-server",
        "queue failed at many-channels, payload=10000: TooLarge: 1",
    ]
