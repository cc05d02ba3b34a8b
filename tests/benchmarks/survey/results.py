"""The figures of a run, and the file that they are kept in."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Metric:
    """Something that is measured: its title, its SI unit or what it counts, which way is better."""

    title: str
    unit: str
    more_is_better: bool = False


METRICS = {
    "p50": Metric("p50", "s"),
    "p99": Metric("p99", "s"),
    "rate": Metric("rate", "1/s", more_is_better=True),
    "all_p50": Metric("p50, all members", "s"),
    "all_p99": Metric("p99, all members", "s"),
    "deliveries": Metric("deliveries", "1/s", more_is_better=True),
    "twice": Metric("handled twice", "messages"),
    "lost": Metric("never handled", "messages"),
    # Of the servers alone, for a frame: while one message is under way, and while many are.
    "frame_cpu": Metric("CPU time for a frame", "s"),
    "busy_frame_cpu": Metric("CPU time for a frame, busy", "s"),
    # Each for one operation of the work.
    "server_cpu": Metric("CPU time of the server", "s"),
    "client_cpu": Metric("CPU time of the clients", "s"),
    "calls": Metric("commands that the server runs", "commands"),
    "bytes": Metric("bytes on the wire", "bytes"),
    # What a call takes, as a multiple of one that does nothing.
    "times": Metric("times", "times"),
    # For 1,000 consumers.
    "client_memory": Metric("memory of clients", "bytes"),
    "server_memory": Metric("memory of server", "bytes"),
}


@dataclass
class Row:
    """One work with one set of parameters on one contender.

    Args:
        figures: For each metric the figure of each round, in the metric's unit.
        note: Why there are no figures, if there are none.
    """

    work: str
    parameters: Mapping[str, Any]
    contender: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    note: str = ""


@dataclass
class Results:
    """All figures of a run, and what they were measured on.

    Args:
        conditions: What the machine and the software are, by name.
        versions: For each contender the versions in its environment, by distribution.
        absent: For each contender that could not be measured, the reason.
        rows: The figures.
    """

    conditions: dict[str, Any]
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def find(self, work: str, contender: str, **parameters: Any) -> Row | None:
        """Return the row of this work with exactly these parameters, None if there is none."""
        for row in self.rows:
            if (row.work, row.contender, dict(row.parameters)) == (work, contender, parameters):
                return row
        return None

    def save(self, file: Path) -> None:
        """Write everything to a JSON file."""
        # A line for each part: tools that compare files go by lines.
        parts = (
            f"{json.dumps(name)}: {json.dumps(value, separators=(',', ':'))}"
            for name, value in dataclasses.asdict(self).items()
        )
        file.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> Results:
        """Read what `save` wrote."""
        read = json.loads(file.read_text(encoding="utf-8"))
        return cls(**{**read, "rows": [Row(**row) for row in read["rows"]]})
