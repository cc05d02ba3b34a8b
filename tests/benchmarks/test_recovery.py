"""The benchmark of groups with a history, on a small scale, and the table of its figures."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from benchmarks.recovery import AT_ONCE, BROWSERS, LAYERS, run, table
from benchmarks.survey.services import redis_service

DOCS = Path(__file__).parents[2] / "docs"
RUN = json.loads((DOCS / "recovery.json").read_text(encoding="utf-8"))["layers"]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.timeout(120)
def test_small_run(layer: str) -> None:
    """Browsers that resume in the same turn share a read of the history."""
    with redis_service(shards=1, cluster=False) as service:
        figures = asyncio.run(run(layer, service, browsers=2 * AT_ONCE, messages=AT_ONCE))
    assert 0 < figures["resume_reads"] <= 4
    assert 0 < figures["memory_one"] < figures["memory_full"]
    assert all(value > 0 for value in figures.values())


def test_page_has_the_table_of_the_run() -> None:
    """The guide has the figures of the last run."""
    assert list(RUN) == list(LAYERS)
    assert table(RUN) in (DOCS / "recovery.md").read_text(encoding="utf-8")


def test_run_shares_reads() -> None:
    """A hundredth of what the browsers ask for."""
    for figures in RUN.values():
        assert figures["resume_browsers"] == BROWSERS
        assert figures["resume_reads"] <= 1.1 * BROWSERS / AT_ONCE
