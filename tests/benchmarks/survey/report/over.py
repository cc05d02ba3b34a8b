"""The plots of work that is done with more and more of something: members, workers, bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.survey.plan import SMALL
from benchmarks.survey.report.compare import rows_of
from benchmarks.survey.report.drawing import decades, legend, new_figure
from benchmarks.survey.report.findings import in_short
from benchmarks.survey.report.names import in_order, with_parameters
from benchmarks.survey.report.panels import lines
from benchmarks.survey.results import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from benchmarks.survey.report.drawing import Draw, Theme
    from benchmarks.survey.results import Results, Row


def members(metric: str, title: str) -> Draw:
    """Return what draws a metric over the number of members, a panel for each of processes."""

    def draw(results: Results, theme: Theme) -> Figure | None:
        rows = [
            row
            for row in rows_of(results, "fan-out")
            if row.figures and set(row.parameters) == {"members", "processes"}
        ]
        panels = sorted({row.parameters["processes"] for row in rows})
        if not panels:
            return None
        largest = max(
            (row.parameters for row in rows), key=lambda one: (one["members"], one["processes"])
        )
        seen = in_short(results, "fan-out", largest, metric)
        figure = new_figure(3.4, title, f"{with_parameters(largest)}: {seen}" if seen else "")
        everyone = in_order(row.contender for row in rows)
        many = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for processes, axes in zip(panels, many, strict=True):
            these = [row for row in rows if row.parameters["processes"] == processes]
            lines(axes, _over("members", these, everyone, metric), METRICS[metric].unit, theme)
            axes.set_title(with_parameters({"processes": processes}))
            axes.set_xlabel("members")
        medians = [row.median(metric) or 0.0 for row in rows]
        decades(many[0].yaxis, METRICS[metric].unit, medians)
        legend(figure, everyone, theme)
        return figure

    return draw


def workers(results: Results, theme: Theme) -> Figure | None:
    """Throughput of a general channel over the number of workers."""
    rows = [row for row in rows_of(results, "workers") if row.figures]
    if not rows:
        return None
    most = max((row.parameters for row in rows), key=lambda one: one["workers"])
    seen = in_short(results, "workers", most, "rate")
    figure = new_figure(
        2.9,
        "Workers that share a channel: messages/s",
        f"{with_parameters(most)}: {seen}" if seen else "",
    )
    axes = figure.subplots()
    everyone = in_order(row.contender for row in rows)
    lines(axes, _over("workers", rows, everyone, "rate"), "1/s", theme, log_x=False, log_y=False)
    axes.set_xlabel("workers")
    for row in rows:
        twice = max(row.figures.get("twice") or [0])
        if twice:
            axes.annotate(
                f"up to {twice:,.0f} twice",
                (row.parameters["workers"], row.median("rate") or 0),
                (0, 7),
                textcoords="offset points",
                ha="center",
                size=7.5,
            )
    legend(figure, everyone, theme)
    return figure


def payload(results: Results, theme: Theme) -> Figure | None:
    """Times over the size of the messages."""
    panels = {
        "one message in flight: half within": ("one-in-flight", {}, "p50"),
        "group of 100: half are with all within": (
            "fan-out",
            {"members": 100, "processes": 1},
            "all_p50",
        ),
    }
    found = {}
    for title, (work, basic, metric) in panels.items():
        rows = [
            row
            for row in rows_of(results, work)
            if row.figures and {**row.parameters, "payload": 0} == {**basic, "payload": 0}
        ]
        if any("payload" in row.parameters for row in rows):
            found[title] = (rows, metric)
    if not found:
        return None
    figure = new_figure(3.1, "Large messages: what their size costs")
    everyone = in_order(row.contender for rows, _ in found.values() for row in rows)
    for (title, (rows, metric)), axes in zip(
        found.items(), figure.subplots(1, len(found), squeeze=False)[0], strict=True
    ):
        lines(axes, _over("payload", rows, everyone, metric), METRICS[metric].unit, theme)
        axes.set_title(title)
        axes.set_xlabel("bytes of a message")
    legend(figure, everyone, theme)
    return figure


def _over(
    parameter: str, rows: list[Row], contenders: list[str], metric: str
) -> Mapping[str, list[tuple[float, float]]]:
    """Return the medians of each contender over a parameter."""
    series: dict[str, list[tuple[float, float]]] = {}
    for name in contenders:
        for row in rows:
            median = row.median(metric)
            if row.contender == name and median is not None:
                point = (float(row.parameters.get(parameter, SMALL)), median)
                series.setdefault(name, []).append(point)
    return {name: sorted(points) for name, points in series.items()}
