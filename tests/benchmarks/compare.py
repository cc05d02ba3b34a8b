"""Compare our layers with channels_redis 4.3.0: `hatch run benchmark:compare`.

The exit status is 1 if some work is below its floor, or fails.
"""

from __future__ import annotations

import argparse
import sys
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.survey.plan import BEFORE, Cell
from benchmarks.survey.report import aligned, amount, better, widths_of
from benchmarks.survey.results import METRICS
from benchmarks.survey.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.survey.results import Results

HEAD = ("layer", "work", "metric", "theirs", "ours", "ratio", "floor", "")


class Work(NamedTuple):
    """A work with its parameters, the metric that counts, and the floor of each layer.

    A floor is the least ratio of the metrics; or with `most`, the highest figure of ours.
    """

    name: str
    metric: str
    floors: Mapping[str, float]
    parameters: Mapping[str, Any] = {}
    most: bool = False


FLOORS = {
    "latency": Work("one-in-flight", "p50", {"queue": 2.5, "pubsub": 1.15}),
    "send-receive": Work("send-receive", "p50", {"queue": 2.5, "pubsub": 1.15}),
    "many-channels": Work("many-channels", "rate", {"queue": 22, "pubsub": 9}),
    "group-1": Work("group", "all_p50", {"queue": 2}, {"members": 1}),
    "group-100": Work("group", "all_p50", {"queue": 5, "pubsub": 1.3}, {"members": 100}),
    "group-1000": Work("group", "all_p50", {"queue": 11, "pubsub": 1.6}, {"members": 1_000}),
    "concurrent-groups": Work("broadcasts", "deliveries", {"queue": 13, "pubsub": 6}),
    "churn": Work("churn", "rate", {"queue": 2, "pubsub": 1.2}),
    "drain": Work("drain", "rate", {"queue": 4}),
    "group-bytes": Work("group", "bytes", {"queue": 3_072}, {"members": 10_000}, most=True),
    "group-calls": Work("group", "calls", {"queue": 20}, {"members": 10_000}, most=True),
    "other-processes": Work("other-processes", "p50", {"queue": 2.5}),
    "mixed-fleet": Work("other-processes", "p50", {"queue": 1.5}, {"mixed": True}),
    "sync": Work("synchronous", "rate", {"queue": 2, "pubsub": 2}, {"threads": 1}),
    "sync-threads": Work("synchronous", "rate", {"queue": 2, "pubsub": 2}, {"threads": 16}),
    "sync-run": Work("sync-run", "rate", {"queue": 3, "pubsub": 3}),
    "sync-cost": Work("sync-cost", "times", {"queue": 3.0, "pubsub": 3.0}, most=True),
}


def main() -> int:
    """Measure what the arguments ask for, write it out, and return the exit status."""
    options = parse()
    layers = [options.layer] if options.layer else list(BEFORE)
    chosen = [
        (layer, name)
        for layer in layers
        for name in options.only or FLOORS
        if layer in FLOORS[name].floors
    ]
    cells: list[Cell] = []
    for layer, name in chosen:
        cell = Cell(FLOORS[name].name, FLOORS[name].parameters, (BEFORE[layer], layer))
        if cell not in cells:
            cells.append(cell)
    with Survey([one for layer in layers for one in (BEFORE[layer], layer)], options.rounds) as it:
        it.compare(cells)
    rows = [judged(layer, name, it.results) for layer, name in chosen]
    widths = widths_of([HEAD, *rows])
    lines = ["  ".join(aligned(row, widths)).rstrip() for row in (HEAD, *rows)]
    machine = it.results.conditions
    software = f"{machine['servers']}, Python {machine['python']}, {machine['cpus']} CPUs"
    sys.stdout.write("\n".join([f"{software}, load {machine['load']}", "", *lines, ""]))
    return 0 if all(row[-1] == "ok" for row in rows) else 1


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="hatch run benchmark:compare", description=__doc__)
    parser.add_argument("--layer", choices=list(BEFORE), help="one layer instead of both")
    parser.add_argument(
        "--only", action="append", choices=list(FLOORS), help="this work; repeatable"
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side (%(default)s)")
    return parser.parse_args()


def judged(layer: str, name: str, results: Results) -> Sequence[str]:
    """Return a row of the table."""
    work = FLOORS[name]
    floor = work.floors[layer]
    unit = METRICS[work.metric].unit
    words = (layer, name, METRICS[work.metric].title)
    limit = f"< {floor:g}" if work.most else f"{floor:g}x"
    theirs, ours = (
        results.find(work.name, contender, **work.parameters)
        for contender in (BEFORE[layer], layer)
    )
    ratio = better(ours, theirs, work.metric)
    figures = [row.figures.get(work.metric) if row else None for row in (theirs, ours)]
    # 4.3.0 may take too long for a work of which only our amount is limited.
    if not figures[1] or not (ratio or work.most):
        notes = [row.note for row in (theirs, ours) if row and row.note]
        notes += [results.absent[one] for one in (BEFORE[layer], layer) if one in results.absent]
        return (*words, "", "", "", limit, f"failed: {', '.join(notes)}")
    shown = [amount(median(each), unit) if each else "" for each in figures]
    own = median(figures[1])
    holds = own < floor if work.most else ratio is not None and ratio.median >= floor
    return (*words, *shown, str(ratio or ""), limit, "ok" if holds else "below")


if __name__ == "__main__":
    sys.exit(main())
