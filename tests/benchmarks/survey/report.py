"""The figures of a run as people read them, and the table that a run ends with."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.survey.plan import BARE, BEFORE, TITLES
from benchmarks.survey.results import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.survey.results import Results, Row

WORDS = 3  # the columns from the left that hold words, not figures
DASH = "\N{EN DASH}"
# From the greatest; a figure is written in the first that it reaches.
SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "\N{MICRO SIGN}s"), (1e-9, "ns")),
    "bytes": ((2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
}
# The first is the metric that decides which layer is better at the work.
SHOWN = {
    "one-in-flight": ("p50", "p99"),
    "many-channels": ("rate",),
    "fan-out": ("all_p50", "all_p99"),
    "broadcasts": ("deliveries",),
    "sockets": ("all_p50", "deliveries", "frame_cpu", "busy_frame_cpu"),
    "churn": ("rate",),
    "workers": ("rate", "twice", "lost"),
    "synchronous": ("rate",),
    "idle": ("client_memory", "server_memory"),
}
HEAD = ("with", "contender", "metric", "median", "least", "greatest", "x 4.3.0", "of bare")


@dataclass(frozen=True)
class Ratio:
    """The ratio of improvement: of the medians, and the extremes of the rounds."""

    median: float
    least: float
    greatest: float

    def __str__(self) -> str:
        low, high = times(self.least), times(self.greatest)
        return times(self.median) if low == high else f"{times(self.median)} ({low}{DASH}{high})"


def times(ratio: float) -> str:
    """Write a ratio with two digits; the third is noise."""
    places = 2 if ratio < 0.995 else 1 if ratio < 9.95 else 0
    return f"{ratio:,.{places}f}"


def amount(figure: float, unit: str) -> str:
    """Write a figure with three digits, in the scale of its unit that suits."""
    rounded = float(f"{figure:.3g}")
    if unit in SCALES:
        # 999.9 µs are 1.00 ms, not 1,000 µs.
        scale, symbol = next((one for one in SCALES[unit] if rounded >= one[0]), SCALES[unit][-1])
        return f"{_digits(figure / scale)} {symbol}"
    if unit == "1/s":
        return f"{_digits(figure)}/s"
    return f"{figure:,.0f}" if figure == int(figure) else _digits(figure)


def _digits(figure: float) -> str:
    if figure == 0:
        return "0"
    rounded = float(f"{figure:.3g}")
    return f"{rounded:,.{max(2 - math.floor(math.log10(abs(rounded))), 0)}f}"


def better(ours: Row | None, theirs: Row | None, metric: str) -> Ratio | None:
    """Return how many times better ours is; None if one of the two has no figures."""
    mine, others = ((row.figures.get(metric) if row else None) for row in (ours, theirs))
    if not mine or not others or min(*mine, *others) <= 0:
        return None

    def ratio(one: float, other: float) -> float:
        return one / other if METRICS[metric].more_is_better else other / one

    # Both did a round at about the same time, so what slowed one slowed the other.
    rounds = [ratio(one, other) for one, other in zip(mine, others, strict=False)]
    return Ratio(ratio(median(mine), median(others)), min(rounds), max(rounds))


def table(results: Results) -> str:
    """Lay out the main figures of each work, and below them why others are missing."""
    works = {work: _rows(results, work) for work in dict.fromkeys(r.work for r in results.rows)}
    widths = widths_of([HEAD, *itertools.chain(*works.values())])
    lines = []
    for work, rows in works.items():
        aligned_rows = ["  ".join(["", *aligned(row, widths)]).rstrip() for row in (HEAD, *rows)]
        lines += [TITLES[work], *aligned_rows, ""]
    lines += [f"{contender} was not measured: {why}" for contender, why in results.absent.items()]
    lines += [
        f"{row.contender} failed at {row.work}, {_written(row.parameters)}: {_last_line(row.note)}"
        for row in results.rows
        if row.note
    ]
    lines += [
        "Median, least and greatest of the rounds. x 4.3.0: times better than the layer of its",
        "kind in channels_redis 4.3.0. Of bare: share of the speed of bare redis-py.",
    ]
    return "\n".join(lines)


def widths_of(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of each column."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Align the words of a row to the left, and its figures to the right."""
    return [
        cell.ljust(width) if column < WORDS else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _rows(results: Results, work: str) -> list[tuple[str, ...]]:
    """Return a work's figures, each set of parameters with all its contenders."""
    rows = [row for row in results.rows if row.work == work]
    order = list(dict.fromkeys(_written(row.parameters) for row in rows))
    return [
        _cells(results, row, metric)
        for row in sorted(rows, key=lambda row: order.index(_written(row.parameters)))
        for metric in SHOWN[work]
        if row.figures.get(metric)
    ]


def _cells(results: Results, row: Row, metric: str) -> tuple[str, ...]:
    figures, unit = row.figures[metric], METRICS[metric].unit
    before, bare = (
        better(row, results.find(row.work, others.get(row.contender, ""), **row.parameters), metric)
        for others in (BEFORE, BARE)
    )
    shown = (amount(figure, unit) for figure in (median(figures), min(figures), max(figures)))
    share = f"{bare.median:.0%}" if bare else ""
    words = (_written(row.parameters), row.contender, METRICS[metric].title)
    return (*words, *shown, str(before or ""), share)


def _written(parameters: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in parameters.items()) or "-"


def _last_line(note: str) -> str:
    return note.strip().splitlines()[-1]
