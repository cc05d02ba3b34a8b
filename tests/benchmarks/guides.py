"""The command line and the table of the programs that measure for guides."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.conditions import conditions
from benchmarks.survey.report import amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Figures = Mapping[str, float]

TITLES = {"queue": "queue", "pubsub": "Pub/Sub"}


def run(
    program: str, rows: Mapping[str, tuple[str, str]], measured: Iterable[tuple[str, str, Figures]]
) -> Mapping[str, Figures]:
    """Measure as the command line says, print the table, and return its columns.

    Args:
        program: What hatch calls the program.
        rows: For the first cell of each row, its figure and unit.
        measured: For each column its title, its servers, and its figures.
    """
    parser = argparse.ArgumentParser(prog=f"hatch run benchmark:{program}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all figures in this file")
    options = parser.parse_args()
    machine = conditions()
    columns: dict[str, Figures] = {}
    for title, machine["servers"], figures in measured:
        columns[title] = figures
    if options.json:
        found = {"conditions": machine, "columns": columns}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{table(rows, columns)}\n")
    return columns


def table(rows: Mapping[str, tuple[str, str]], columns: Mapping[str, Figures]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [f"| | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    for title, (name, unit) in rows.items():
        cells = (amount(figures[name], unit) for figures in columns.values())
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)
