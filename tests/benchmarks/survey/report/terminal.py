"""The figures of a run, in the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.survey.results import Results


def print_tables(results: Results) -> None:
    """Print the medians of each row."""
    for row in results.rows:
        medians = {metric: row.median(metric) for metric in row.figures}
        sys.stdout.write(f"{row.work} {dict(row.parameters)} {row.contender} {medians}\n")
