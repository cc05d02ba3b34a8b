"""How many times better one contender is than another, computed from the rounds of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.survey.report import figures
from benchmarks.survey.report.names import in_order
from benchmarks.survey.results import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.survey.results import Results, Row

    Parameters = Mapping[str, Any]

# What a work is about: the first of these that was measured.
HEADLINES = {
    "one-in-flight": ("p50", "p99"),
    "many-channels": ("rate",),
    "fan-out": ("all_p50", "all_p99", "deliveries"),
    "broadcasts": ("deliveries", "all_p50"),
    "churn": ("rate", "p50"),
    "workers": ("rate",),
    "synchronous": ("rate", "p50"),
    "idle": ("client_memory", "server_memory", "connections"),
}
# Of one operation, and the same whatever the work is.
COSTS = ("client_cpu", "server_cpu", "calls", "bytes", "reads", "connections")


@dataclass(frozen=True)
class Ratio:
    """How many times better: by the medians, and the least and the greatest of the rounds."""

    median: float
    least: float
    greatest: float

    def __str__(self) -> str:
        low, high = figures.ratio(self.least), figures.ratio(self.greatest)
        told = f"{figures.ratio(self.median)}{figures.TIMES}"
        return told if low == high else f"{told} ({low}{figures.DASH}{high})"


def better(ours: Row | None, theirs: Row | None, metric: str) -> Ratio | None:
    """Return how many times better ours is; None where one of the two has no figures."""
    if ours is None or theirs is None:
        return None
    mine, others = ours.figures.get(metric, []), theirs.figures.get(metric, [])
    medians = ours.median(metric), theirs.median(metric)
    if medians[0] is None or medians[1] is None or min(*mine, *others) <= 0:
        return None
    more = METRICS[metric].more_is_better
    if len(mine) == len(others):
        # Both did a round at about the same time, so what slowed one slowed the other.
        ratios = [_ratio(one, other, more=more) for one, other in zip(mine, others, strict=True)]
    else:
        ratios = [_ratio(one, other, more=more) for one in mine for other in others]
    return Ratio(_ratio(medians[0], medians[1], more=more), min(ratios), max(ratios))


def _ratio(ours: float, theirs: float, *, more: bool) -> float:
    return ours / theirs if more else theirs / ours


def rows_of(results: Results, work: str) -> list[Row]:
    """Return a work's rows."""
    return [row for row in results.rows if row.work == work]


def parameter_sets(results: Results, work: str) -> list[Parameters]:
    """Return what a work was measured with, in the order of the run."""
    found: list[Parameters] = []
    for row in rows_of(results, work):
        if row.parameters not in found:
            found.append(row.parameters)
    return found


def contenders_of(results: Results, work: str | None = None) -> list[str]:
    """Return who has figures in a work, or in any."""
    return in_order(
        row.contender for row in results.rows if row.figures and work in {None, row.work}
    )


def metrics_of(results: Results, work: str) -> list[str]:
    """Return what was measured of a work, in the order of `METRICS`."""
    measured = {metric for row in rows_of(results, work) for metric in row.figures}
    return [metric for metric in METRICS if metric in measured]


def headline(results: Results, work: str) -> str | None:
    """Return the metric that a work is about; None when nothing of it was measured."""
    measured = metrics_of(results, work)
    wanted = (*HEADLINES.get(work, ()), *measured)
    return next((metric for metric in wanted if metric in measured), None)


def headlines(results: Results) -> Iterator[tuple[str, Parameters, str]]:
    """Yield each work with each set of parameters and the metric that it is about."""
    for work in dict.fromkeys(row.work for row in results.rows):
        metric = headline(results, work)
        if metric is not None:
            for parameters in parameter_sets(results, work):
                yield work, parameters, metric
