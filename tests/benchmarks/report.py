"""Results of the measurements: medians, ratios, and a table of them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.catalogue import Floor, Work

HEAD = ("layer", "work", "unit", "theirs", "ours", "ratio", "floor", "")
WORDS = 3  # the columns from the left that hold words, not figures


@dataclass(frozen=True)
class Outcome:
    """The figures of one piece of work, round by round: seconds an operation, or counts.

    There are none when the work failed on either side.
    """

    work: Work
    layer: str
    theirs: list[float]
    ours: list[float]

    @property
    def floor(self) -> Floor:
        """The ratio that ours must reach."""
        return self.work.floors[self.layer]

    @property
    def ratio(self) -> float:
        """The ratio of improvement: the median of the ratios of each round's pair."""
        if not self.ours:
            return float("nan")
        return statistics.median(
            theirs / ours for theirs, ours in zip(self.theirs, self.ours, strict=True)
        )

    @property
    def good(self) -> bool:
        """True if ours is at its floor or better."""
        return bool(self.ours) and self.floor.holds(self.ratio, statistics.median(self.ours))


def in_unit(figure: float, unit: str) -> float:
    """Turn seconds an operation into the unit they are told in; a count stays as it is."""
    if unit == "ms":
        return figure * 1_000
    if unit == "msg/s":
        return 1 / figure
    return figure


def table(outcomes: list[Outcome]) -> str:
    """Lay the outcomes out as a Markdown table that also reads well in a terminal."""
    rows = [HEAD, *map(_row, outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [_line(row, widths) for row in rows]
    rule = "|".join(
        "-" * (width + 1) + ("-" if n < WORDS else ":") for n, width in enumerate(widths)
    )
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def _row(outcome: Outcome) -> tuple[str, ...]:
    """Write one outcome as cells of the table."""
    words = (outcome.layer, outcome.work.title, outcome.work.unit)
    if not outcome.ours:
        return (*words, "", "", "", str(outcome.floor), "failed")
    theirs, ours = (
        _number(in_unit(statistics.median(figures), outcome.work.unit))
        for figures in (outcome.theirs, outcome.ours)
    )
    verdict = "ok" if outcome.good else "below"
    return (*words, theirs, ours, f"{outcome.ratio:.2f}x", str(outcome.floor), verdict)


def _number(figure: float) -> str:
    """Write a figure with three digits at least."""
    digits = 3 if figure < 10 else 1 if figure < 1_000 else 0
    return f"{figure:,.{digits}f}"


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    return f"| {' | '.join(aligned(row, widths))} |"


def aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Align the words of a row to the left, and its figures to the right."""
    return [
        cell.ljust(width) if column < WORDS else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
