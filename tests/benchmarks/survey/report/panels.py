"""The kinds of panels that plots are made of: bars, and lines over a parameter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator, NullLocator

from benchmarks.survey.report import figures
from benchmarks.survey.report.drawing import bare, decades, tick, told_in
from benchmarks.survey.report.names import short
from benchmarks.survey.results import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from benchmarks.survey.report.drawing import Theme
    from benchmarks.survey.results import Row

# Room at the right of the longest bar for what is written there.
ROOM = 1.38
POINT = 0.62  # of a bar's place
APART = 0.14  # of an axis, from label to label
FAR = 2.5  # times the longest of the others
CUT = "$/\u2009/$"  # through a bar


def bars(
    axes: Axes, rows: Mapping[str, Row | None], metric: str, theme: Theme, *, names: bool = True
) -> None:
    """Draw a bar from zero for each contender, a line for the spread, and write the median.

    The bar of what has no server is cut where it would leave no room for the others.
    """
    unit, limit = METRICS[metric].unit, _limit(rows, metric)
    for place, (name, row) in enumerate(rows.items()):
        median = row.median(metric) if row else None
        ends = row.spread(metric) if row else None
        if median is None or ends is None:
            axes.annotate("-", (0, place), (4, 0), textcoords="offset points", va="center")
            continue
        raw, colour = name.startswith("raw-"), theme.colour(name)
        cut = limit < ends[1]
        axes.barh(
            place,
            limit if cut else median,
            POINT,
            facecolor="none" if raw else colour,
            edgecolor=colour,
            linewidth=1,
            linestyle="--" if raw else "-",
        )
        if cut:
            axes.plot(limit * 0.97, place, color=theme.ground, marker=CUT, markersize=22)
        else:
            axes.plot(ends, [place, place], color=theme.text, linewidth=1, solid_capstyle="butt")
        axes.annotate(
            figures.amount(median, unit),
            (limit if cut else ends[1], place),
            (4, 0),
            textcoords="offset points",
            va="center",
            weight="bold" if name in {"queue", "pubsub"} else "normal",
        )
    axes.set_xlim(0, limit * ROOM)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [short(name) if names else "" for name in rows])
    bare(axes)
    # What is written beside the bars says more than ticks would.
    axes.xaxis.set_major_locator(NullLocator())
    axes.axvline(0, color=theme.grid, linewidth=1)


def _limit(rows: Mapping[str, Row | None], metric: str) -> float:
    """Return how long the longest bar is: of all, unless one without a server is far longer."""
    ends = {
        name: spread[1]
        for name, row in rows.items()
        if row is not None and (spread := row.spread(metric)) is not None
    }
    served = max((end for name, end in ends.items() if name != "memory"), default=0.0)
    longest = max(ends.values(), default=0.0)
    return (longest if longest < FAR * served else served * 1.2) or longest or 1.0


def ranges(axes: Axes, rows: Mapping[str, Row | None], low: str, high: str, theme: Theme) -> None:
    """Draw two medians for each contender, one filled and one hollow, on a logarithmic axis."""
    unit, found = METRICS[low].unit, list[float]()
    for place, (name, row) in enumerate(rows.items()):
        ends = [row.median(metric) if row else None for metric in (low, high)]
        if ends[0] is None or ends[1] is None:
            continue
        first, last = ends[0], ends[1]
        colour, marks = theme.colour(name), theme.marks(name, line=False)
        axes.plot([first, last], [place, place], color=colour, linewidth=2.5, alpha=0.45)
        axes.plot(first, place, **marks | {"markersize": 7})
        axes.plot(last, place, color=colour, marker="|", markersize=9, markeredgewidth=2)
        axes.annotate(
            f"{figures.amount(first, unit)}, {figures.amount(last, unit)}",
            (last, place),
            (9, 0),
            textcoords="offset points",
            va="center",
            weight="bold" if name in {"queue", "pubsub"} else "normal",
        )
        found += [first, last]
    if not found:
        return
    axes.set_xscale("log")
    axes.set_xlim(min(found) / 1.3, max(found) * (max(found) / min(found)) ** 0.34)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [short(name) for name in rows])
    bare(axes)
    decades(axes.xaxis, unit, found)


def lines(
    axes: Axes,
    series: Mapping[str, Sequence[tuple[float, float]]],
    unit: str,
    theme: Theme,
    *,
    log_x: bool = True,
    log_y: bool = True,
    dashed: bool = False,
) -> None:
    """Draw a line for each contender through its (parameter, figure) points."""
    places, found = set[float](), list[float]()
    for name, points in series.items():
        # A logarithmic axis has no zero.
        drawn = [point for point in points if point[1] > 0 or not log_y]
        if drawn:
            marks = theme.marks(name) | ({"linestyle": ":", "marker": ""} if dashed else {})
            axes.plot(*zip(*drawn, strict=True), **marks)
        places |= {x for x, _ in drawn}
        found += [y for _, y in drawn]
    if not found:
        return
    axes.grid(visible=False, axis="x")
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    if log_x:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    kept = _apart(sorted(places), log=log_x)
    axes.set_xticks(kept, [tick(place, "") for place in kept])
    if log_y:
        axes.set_yscale("log")
        decades(axes.yaxis, unit, found)
    else:
        axes.set_ylim(0, max(*found, axes.get_ylim()[1]))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        told_in(axes.yaxis, unit)


def _apart(places: list[float], *, log: bool) -> list[float]:
    """Return the places at which there is room for a label, the last one among them."""

    def share(one: float, other: float) -> float:
        if log and places[0] > 0:
            return math.log(one / other) / math.log(places[-1] / places[0])
        return (one - other) / (places[-1] - places[0])

    kept = places[-1:]
    for place in reversed(places[:-1]):
        if share(kept[-1], place) >= APART:
            kept.append(place)
    return kept[::-1]
