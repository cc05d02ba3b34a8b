"""The figures of the guide on broadcasts are those of the run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median

from benchmarks.survey.report import amount

DOCS = Path(__file__).parents[2] / "docs"
RUN = json.loads((DOCS / "sockets.json").read_text(encoding="utf-8"))
CONTENDERS = ("queue", "queue+", "queue-4.3", "pubsub", "pubsub+", "pubsub-4.3")


def figure(contender: str, members: int, processes: int, metric: str) -> str:
    """Return a median; `+` stands for broadcasts."""
    parameters = {"members": members, "processes": processes}
    if contender.endswith("+"):
        parameters["broadcast"] = True
    (row,) = (
        row
        for row in RUN["rows"]
        if (row["contender"], row["parameters"]) == (contender.rstrip("+"), parameters)
    )
    return amount(median(row["figures"][metric]), "s" if metric == "all_p50" else "1/s")


def test_table_has_the_figures_of_the_run() -> None:
    """Each row of the table is a size of the group, and one of the two metrics."""
    page = (DOCS / "broadcast.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| ([\d,]+) sockets, (\d) process\w*: (.+?) \| (.+) \|$", page, re.MULTILINE
    )
    assert len(rows) == 8
    for members, processes, what, cells in rows:
        metric = "all_p50" if what == "until all have it" else "deliveries"
        size = int(members.replace(",", "")), int(processes)
        assert cells.split(" | ") == [figure(one, *size, metric) for one in CONTENDERS]
