"""The plots that have contenders beside each other, each with its bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.survey.report.compare import contenders_of, parameter_sets
from benchmarks.survey.report.drawing import new_figure
from benchmarks.survey.report.findings import in_short
from benchmarks.survey.report.names import in_order, with_parameters
from benchmarks.survey.report.panels import bars, ranges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from benchmarks.survey.report.compare import Parameters
    from benchmarks.survey.report.drawing import Draw, Theme
    from benchmarks.survey.results import Results, Row

BAR = 0.21  # inches of height
AROUND = 0.72  # inches of height for the title and the axis


def one_in_flight(results: Results, theme: Theme) -> Figure | None:
    """Latency: the median and the 99th percentile of each contender."""
    rows = _found(results, "one-in-flight", {})
    if not rows:
        return None
    figure = new_figure(
        AROUND + BAR * len(rows) + 0.1,
        "One message in flight: half (marker) and 99 of 100 (bar) arrive within",
        in_short(results, "one-in-flight", {}, "p50"),
    )
    ranges(figure.subplots(), rows, "p50", "p99", theme)
    return figure


def bars_of(work: str, title: str) -> Draw:
    """Return what draws the main metric of a work's basic cell."""

    def draw(results: Results, theme: Theme) -> Figure | None:
        rows = _found(results, work, {})
        metric = "deliveries" if work == "broadcasts" else "rate"
        if not rows:
            return None
        height = AROUND + BAR * len(rows) - 0.2
        figure = new_figure(height, title, in_short(results, work, {}, metric))
        bars(figure.subplots(), rows, metric, theme)
        return figure

    return draw


def synchronous(results: Results, theme: Theme) -> Figure | None:
    """Calls from synchronous code: a panel for each number of threads."""
    sets = [one for one in parameter_sets(results, "synchronous") if set(one) == {"threads"}]
    return _side_by_side(
        results,
        theme,
        "group_send from synchronous code: calls/s",
        {with_parameters(one): ("synchronous", one, "rate") for one in sets},
    )


def costs(results: Results, theme: Theme) -> Figure | None:
    """What an operation costs the server."""
    hundred = {"members": 100, "processes": 1}
    work = {
        "to a channel": ("many-channels", {}),
        "to the group": ("fan-out", hundred),
    }
    metrics = {"server_cpu": "CPU time", "bytes": "bytes", "calls": "commands"}
    panels = {
        f"{what}: {title}": (name, parameters, metric)
        for what, (name, parameters) in work.items()
        for metric, title in metrics.items()
    }
    title = "What a message to a channel, and one to a group of 100, cost the server"
    return _side_by_side(results, theme, title, panels, columns=3)


def idle(results: Results, theme: Theme) -> Figure | None:
    """What waiting consumers hold."""
    metrics = {
        "memory of the process": "client_memory",
        "memory of the server": "server_memory",
        "connections, all in all": "connections",
    }
    panels: dict[str, tuple[str, Parameters, str]]
    panels = {title: ("idle", {}, metric) for title, metric in metrics.items()}
    return _side_by_side(results, theme, "What 1,000 consumers hold that wait", panels, columns=3)


def _found(results: Results, work: str, parameters: Parameters) -> dict[str, Row]:
    """Return the rows with figures, by contender."""
    found = {name: results.find(work, name, **parameters) for name in contenders_of(results, work)}
    return {name: row for name, row in found.items() if row is not None and row.figures}


def _side_by_side(
    results: Results,
    theme: Theme,
    title: str,
    panels: Mapping[str, tuple[str, Parameters, str]],
    columns: int = 2,
) -> Figure | None:
    """Draw panels of bars with the same contenders; names stand at the left ones alone."""
    found = {}
    for heading, (work, parameters, metric) in panels.items():
        rows = _found(results, work, parameters)
        if any(metric in row.figures for row in rows.values()):
            found[heading] = (rows, metric)
    if not found:
        return None
    everyone = in_order(
        name
        for rows, metric in found.values()
        for name, row in rows.items()
        if metric in row.figures
    )
    lines_of_panels = -(-len(found) // columns)
    height = 0.35 + lines_of_panels * (0.3 + BAR * len(everyone))
    figure = new_figure(height, title)
    grid = figure.subplots(lines_of_panels, columns, squeeze=False)
    for number, axes in enumerate(grid.flat):
        if number >= len(found):
            axes.set_visible(False)
    for number, (heading, (rows, metric)) in enumerate(found.items()):
        axes = grid.flat[number]
        shown = {name: rows.get(name) for name in everyone}
        bars(axes, shown, metric, theme, names=number % columns == 0)
        axes.set_title(heading)
    return figure
