"""The benchmark of presence, on a small scale, and the table of its figures."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from benchmarks.presence.fleet import LAYERS, Plan
from benchmarks.presence.report import SERVERS, broken, table
from benchmarks.presence.trials import run
from benchmarks.survey.services import redis_service

DOCS = Path(__file__).parents[2] / "docs"
RUN = json.loads((DOCS / "presence.json").read_text(encoding="utf-8"))
SMALL = Plan(
    people=40,
    rooms=4,
    wave=400,
    changes=10,
    intervals={"LEASE_SECONDS": 5, "RENEWAL_INTERVAL": 0.5},
    options={"grace": 1},
)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.timeout(180)
@pytest.mark.slow
def test_small_run(layer: str) -> None:
    """It does what the documentation promises, with short leases also on a small scale."""
    with redis_service(shards=2, cluster=False) as service:
        figures = asyncio.run(run(layer, service, SMALL))
    assert list(broken(figures)) == []
    assert figures["kill_people"] >= SMALL.people
    assert 0 < figures["join_cpu"] < 1
    assert figures["person_memory"] > 20


def test_page_has_the_table_of_the_run() -> None:
    """The guide on presence has the figures of the last run, with each layer on all servers."""
    assert table(RUN["rows"]) in (DOCS / "presence.md").read_text(encoding="utf-8")
    there = [(row["layer"], row["servers"]) for row in RUN["rows"]]
    assert there == [(layer, servers) for layer in LAYERS for servers in SERVERS]


def test_run_keeps_the_promises() -> None:
    """All that the guide promises was so."""
    plan = Plan()
    for row in RUN["rows"]:
        figures = row["figures"]
        assert list(broken(figures)) == []
        assert figures["kill_people"] >= plan.people
        assert figures["wave_people"] == plan.wave


@pytest.mark.parametrize(
    "change",
    [
        {"kill_leaves": 999},
        {"claims_most_leaves": 2_000},
        {"kill_last": 81},
        {"claims_wrong": 1},
        {"kill_wrong_lists": True},
        {"move_events": 1},
        {"loss_right": 61},
        {"loss_leaves": 1},
        {"wave_most_joins": 10_001},
    ],
)
def test_broken_promises(change: dict[str, float]) -> None:
    """Each is told."""
    assert len(list(broken({**RUN["rows"][0]["figures"], **change}))) == 1
