"""The tables of the guides on presence and recovery are those of the last runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import presence, recovery
from benchmarks.guides import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.guides import Figures

DOCS = Path(__file__).parents[2] / "docs"


def columns_of(guide: str, rows: Mapping[str, tuple[str, str]]) -> Mapping[str, Figures]:
    """Return the figures of a guide's last run, whose table it must have."""
    run = json.loads((DOCS / f"{guide}.json").read_text(encoding="utf-8"))
    columns: Mapping[str, Figures] = run["columns"]
    assert table(rows, columns) in (DOCS / f"{guide}.md").read_text(encoding="utf-8")
    return columns


def test_presence() -> None:
    """The guide has the table of the run, in which each page heard of each person once."""
    columns = columns_of("presence", presence.ROWS)
    assert len(columns) == 6
    assert all(map(presence.heard_once, columns.values()))


def test_recovery() -> None:
    """The guide has the table of the run, in which browsers shared reads."""
    for figures in columns_of("recovery", recovery.ROWS).values():
        assert figures["resume_browsers"] == recovery.BROWSERS
        assert figures["resume_reads"] <= 1.1 * recovery.BROWSERS / recovery.AT_ONCE
