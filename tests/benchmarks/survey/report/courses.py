"""The plots of what changes: under growing load, and over a long time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.ticker import MaxNLocator

from benchmarks.survey.report.drawing import legend, new_figure, told_in
from benchmarks.survey.report.names import in_order, short
from benchmarks.survey.report.panels import lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from benchmarks.survey.report.drawing import Theme
    from benchmarks.survey.results import Results

AXES = {
    "members": "members of a group",
    "processes": "processes",
    "groups": "groups",
    "rate": "group_send a second",
    "nodes": "Redis servers",
}
# Titles of what a worker has, and the unit of the axis.
QUANTITIES = {
    "rss": ("MiB of memory", 2**20),
    "tasks": ("tasks", 1),
    "connections": ("connections", 1),
    "mailboxes": ("mailboxes", 1),
    "threads": ("threads", 1),
}
NARROWEST = 0.035  # share of the time: a shorter phase has no room for its number
POINTS = 100  # of a line: more than that many can't be told apart


def axes_of(results: Results) -> list[str]:
    """Return the axes along which the cost was measured."""
    return list(dict.fromkeys(entry["axis"] for entry in results.growth))


def growth(axis: str) -> Callable[[Results, Theme], Figure | None]:
    """Return what draws deliveries, latency and CPU time over this axis."""

    def draw(results: Results, theme: Theme) -> Figure | None:
        entries = {
            entry["contender"]: entry
            for entry in results.growth
            if entry["axis"] == axis and entry["steps"]
        }
        everyone = in_order(entries)
        if not everyone:
            return None
        figure = new_figure(3.2, f"More and more {AXES.get(axis, axis)}", _gave(entries))
        panels: list[Axes] = list(figure.subplots(1, 3))
        for axes, metric, unit, title in (
            (panels[0], "deliveries", "1/s", "deliveries a second"),
            (panels[1], "p99", "s", "99 of 100 within"),
            (panels[2], "server_cpu", "", "cores busy (clients dotted)"),
        ):
            series = {name: _steps(entries[name], metric) for name in everyone}
            lines(axes, series, unit, theme, log_y=metric != "server_cpu")
            axes.set_title(title)
            axes.set_xlabel(AXES.get(axis, axis))
            if metric != "server_cpu":
                _mark_ends(axes, entries, metric, theme)
        clients = {name: _steps(entries[name], "client_cpu") for name in everyone}
        lines(panels[2], clients, "", theme, log_y=False, dashed=True)
        legend(figure, everyone, theme)
        return figure

    return draw


def _gave(entries: dict[str, dict[str, Any]]) -> str:
    """Say at which value each contender gave, which the plot marks."""
    told = [
        f"{short(name)} at {entry['gave_at']:,}"
        for name, entry in entries.items()
        if entry.get("gave_at") is not None
    ]
    return f"Where it gave (ringed): {', '.join(told)}" if told else ""


def _steps(entry: dict[str, Any], metric: str) -> list[tuple[float, float]]:
    return [
        (step["value"], step["figures"][metric])
        for step in entry["steps"]
        if step["figures"].get(metric) is not None
    ]


def _mark_ends(axes: Axes, entries: dict[str, Any], metric: str, theme: Theme) -> None:
    """Ring the points at which contenders gave."""
    for entry in entries.values():
        for value, figure in _steps(entry, metric):
            if value == entry.get("gave_at"):
                axes.plot(value, figure, "o", markersize=11, fillstyle="none", color=theme.text)


def soak(results: Results, theme: Theme) -> Figure | None:
    """What each worker process held over time: a column for each layer."""
    layers = {name: layer["samples"] for name, layer in results.soaked.items()}
    layers = {name: samples for name, samples in layers.items() if samples}
    if not layers:
        return None
    shown = [name for name in QUANTITIES if any(name in one[0] for one in layers.values())]
    minutes = results.soak_minutes
    title = f"{minutes:,.0f} minutes under load, with faults: what each worker process holds"
    figure = new_figure(0.7 + 1.05 * len(shown), title)
    grid = figure.subplots(len(shown), len(layers), sharex="col", sharey="row", squeeze=False)
    for column, (layer, samples) in enumerate(layers.items()):
        for row, quantity in enumerate(shown):
            axes = grid[row][column]
            _phases(axes, samples, theme, named=row == 0)
            label, _unit = QUANTITIES[quantity]
            _workers(axes, samples, quantity, theme.colour(layer))
            axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            told_in(axes.yaxis, "")
            axes.spines["left"].set_visible(False)
            axes.grid(visible=False, axis="x")
            if column == 0:
                axes.set_ylabel(label)
        grid[0][column].set_title(short(layer), pad=18)
        grid[-1][column].set_xlabel("minutes")
    figure.align_ylabels()
    return figure


def _workers(axes: Axes, samples: Sequence[dict[str, Any]], quantity: str, colour: str) -> None:
    """Draw a line for each worker, with the greatest of what one point stands for."""
    by_worker: dict[Any, list[tuple[float, float]]] = {}
    for sample in samples:
        if sample.get(quantity) is not None:
            point = (sample["t"] / 60, sample[quantity] / QUANTITIES[quantity][1])
            by_worker.setdefault(sample["worker"], []).append(point)
    for points in by_worker.values():
        step = -(-len(points) // POINTS)
        groups = [points[start : start + step] for start in range(0, len(points), step)]
        greatest = [max(group, key=lambda point: point[1]) for group in groups]
        axes.plot(*zip(*greatest, strict=True), color=colour, linewidth=0.9, alpha=0.75)


def _phases(axes: Axes, samples: Sequence[dict[str, Any]], theme: Theme, *, named: bool) -> None:
    """Shade every other phase, and number those above the topmost panel that have room for it."""
    starts: list[tuple[float, str]] = []
    for sample in sorted(samples, key=lambda one: float(one["t"])):
        if not starts or starts[-1][1] != sample["phase"]:
            starts.append((sample["t"] / 60, sample["phase"]))
    last = max(sample["t"] for sample in samples) / 60
    ends = [*(start for start, _ in starts[1:]), last]
    for number, ((start, _phase), end) in enumerate(zip(starts, ends, strict=True)):
        if number % 2:
            axes.axvspan(start, end, color=theme.grid, alpha=0.45, linewidth=0)
        if named and end - start > NARROWEST * last:
            axes.annotate(
                str(number + 1),
                ((start + end) / 2, 1),
                (0, 3),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="center",
                size=7.5,
            )
