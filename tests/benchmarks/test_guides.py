"""The tables of the guides on presence and recovery are those of the last runs."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import recovery
from benchmarks.presence import table, told_once

DOCS = Path(__file__).parents[2] / "docs"
PRESENCE = json.loads((DOCS / "presence.json").read_text(encoding="utf-8"))["rows"]
RECOVERY = json.loads((DOCS / "recovery.json").read_text(encoding="utf-8"))["layers"]


def test_presence() -> None:
    """The guide has the table of the run, in which each page was told of each person once."""
    assert table(PRESENCE) in (DOCS / "presence.md").read_text(encoding="utf-8")
    assert len(PRESENCE) == 6
    assert all(told_once(row["figures"]) for row in PRESENCE)


def test_recovery() -> None:
    """The guide has the table of the run, in which browsers shared reads."""
    assert recovery.table(RECOVERY) in (DOCS / "recovery.md").read_text(encoding="utf-8")
    for figures in RECOVERY.values():
        assert figures["resume_browsers"] == recovery.BROWSERS
        assert figures["resume_reads"] <= 1.1 * recovery.BROWSERS / recovery.AT_ONCE
