"""The main figures in the terminal, for the end of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.survey.plan import TITLES
from benchmarks.survey.report import figures
from benchmarks.survey.report.compare import (
    HEADLINES,
    better,
    headline,
    metrics_of,
    parameter_sets,
    rows_of,
)
from benchmarks.survey.report.names import BEFORE, RAW, in_order, short, with_parameters
from benchmarks.survey.report.reasons import LONGEST
from benchmarks.survey.report.tables import HEADS, measured

if TYPE_CHECKING:
    from benchmarks.survey.report.compare import Parameters
    from benchmarks.survey.results import Results, Row

# Beside what a work is about: what tells that it was done well.
BESIDE = ("p99", "twice", "lost", "beside_nothing")


def print_tables(results: Results, console: Console | None = None) -> None:
    """Print a table for each work, and the reasons for what is missing."""
    console = console or Console()
    for work in dict.fromkeys(row.work for row in results.rows):
        console.print(_table(results, work))
        console.print()
    for contender, reason in results.absent.items():
        console.print(f"{short(contender)} was not measured: {escape(reason)}", style="yellow")
    console.print(
        "Each figure is the median of the rounds, with the least and the greatest in brackets. "
        f"{figures.TIMES} 4.3.0: how many times better than channels_redis 4.3.0's layer of the "
        "same kind, by the first column of figures; of raw: what share of the speed that "
        "redis-py alone reaches with the same commands.",
        style="dim",
    )


def _table(results: Results, work: str) -> Table:
    """Lay out a work: its contenders below each other, for each set of parameters."""
    table = Table(title=TITLES.get(work, work), title_justify="left", title_style="bold")
    main = headline(results, work)
    shown = [*HEADLINES.get(work, ()), *BESIDE]
    metrics = [metric for metric in metrics_of(results, work) if metric in shown]
    metrics.sort(key=lambda metric: metric != main)
    rows = rows_of(results, work)
    raw = any(row.contender in RAW.values() for row in rows)
    table.add_column("with")
    table.add_column("contender", no_wrap=True)
    for head in (*(HEADS[metric] for metric in metrics), f"{figures.TIMES} 4.3.0"):
        table.add_column(head, justify="right", overflow="fold")
    if raw:
        table.add_column("of raw", justify="right")
    for parameters in parameter_sets(results, work):
        label = with_parameters(parameters)
        these = [row for row in rows if row.parameters == parameters]
        for name in in_order(row.contender for row in these):
            row = next(row for row in these if row.contender == name)
            if row.figures:
                cells = [measured(row, metric) or "-" for metric in metrics]
            else:
                # Its end says what went wrong, whatever came before.
                cells = [f"[red]{escape(row.note[-LONGEST:].strip() or 'no figures')}[/red]"]
                cells += [""] * (len(metrics) - 1)
            cells.append(_times(results, row, parameters, main))
            if raw:
                cells.append(_of_raw(results, row, parameters, main))
            style = "bold" if name in BEFORE else ""
            table.add_row(label, short(name), *cells, style=style)
            label = ""
        table.add_section()
    return table


def _times(results: Results, row: Row, parameters: Parameters, metric: str | None) -> str:
    if row.contender not in BEFORE or metric is None:
        return ""
    before = results.find(row.work, BEFORE[row.contender], **parameters)
    ratio = better(row, before, metric)
    return str(ratio) if ratio else "-"


def _of_raw(results: Results, row: Row, parameters: Parameters, metric: str | None) -> str:
    if row.contender not in RAW or metric is None:
        return ""
    ratio = better(row, results.find(row.work, RAW[row.contender], **parameters), metric)
    return figures.percent(ratio.median) if ratio else "-"
