"""Markdown tables of the figures: the main one of a work at a glance, and all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.survey.plan import cells
from benchmarks.survey.report import figures
from benchmarks.survey.report.compare import (
    COSTS,
    better,
    contenders_of,
    headline,
    metrics_of,
    parameter_sets,
    rows_of,
)
from benchmarks.survey.report.names import BEFORE, NO_BREAK, RAW, in_order, short, with_parameters
from benchmarks.survey.report.reasons import Notes, why_missing
from benchmarks.survey.results import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.survey.report.compare import Parameters
    from benchmarks.survey.results import Results, Row

JOINED = "\N{WORD JOINER}"
# For the heads of columns, where titles are too long.
HEADS = {
    "p50": "half within",
    "p99": "99 % within",
    "rate": "a second",
    "each_p50": "a member: half within",
    "each_p99": "a member: 99 % within",
    "all_p50": "all members: half within",
    "all_p99": "all members: 99 % within",
    "deliveries": "deliveries a second",
    "twice": "handled twice",
    "lost": "never handled",
    "beside_nothing": "times a call of nothing",
    "client_cpu": "CPU of clients",
    "server_cpu": "CPU of server",
    "calls": "commands",
    "bytes": "bytes on the wire",
    "reads": "reads by server",
    "connections": "connections",
    "client_memory": "memory of process",
    "server_memory": "memory of server",
}


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1, words_last: int = 0
) -> str:
    """Write a Markdown table, whose columns between the first and the last few hold figures."""
    end = len(head) - words_last
    rule = ["---"] * words + ["---:"] * (end - words) + ["---"] * words_last
    lines = ([*cells[:words], *map(_together, cells[words:end]), *cells[end:]] for cells in rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))


def _together(cell: str) -> str:
    """Have a figure in one line: it may be broken before its spread alone."""
    together = cell.replace(" ", NO_BREAK).replace(f"{NO_BREAK}(", " (")
    return together.replace(figures.DASH, figures.DASH + JOINED)


def with_notes(text: str, notes: Notes) -> str:
    """Put the footnotes below a table."""
    return "\n\n".join([text, *notes.lines()])


def measured(row: Row | None, metric: str) -> str:
    """Write a median with its spread; nothing when there is none."""
    if row is None:
        return ""
    median, ends = row.median(metric), row.spread(metric)
    if median is None or ends is None:
        return ""
    unit = METRICS[metric].unit
    told = figures.amount(median, unit)
    between = figures.spread(*ends, unit, median)
    return told if ends[0] == ends[1] else f"{told} ({between})"


def at_a_glance(results: Results, work: str) -> str:
    """Write the medians of a work's main metric side by side, with how ours compare with 4.3.0's.

    What is raw is left out: most of the time there is none.
    """
    metric = headline(results, work)
    if metric is None:
        return ""
    notes, present = Notes(), [one for one in _everyone(results, work) if one not in RAW.values()]
    # The ratio stands after the two that it compares.
    compared = {theirs: ours for ours, theirs in BEFORE.items() if {ours, theirs} <= set(present)}
    head = ["with"]
    for name in present:
        head += [short(name), figures.TIMES] if name in compared else [short(name)]
    rows = []
    for parameters in parameter_sets(results, work):
        line = [with_parameters(parameters)]
        found = {name: results.find(work, name, **parameters) for name in present}
        for name, row in found.items():
            median = row.median(metric) if row else None
            line.append(
                notes.mark(why_missing(results, work, parameters, name, row))
                if median is None
                else figures.amount(median, METRICS[metric].unit)
            )
            if name in compared:
                ratio = better(found[compared[name]], row, metric)
                line.append(f"**{figures.ratio(ratio.median)}**" if ratio else "-")
        rows.append(line)
    return with_notes(table(head, rows), notes)


def in_full(results: Results, work: str) -> str:
    """Write each metric of a work, median and spread, for each set of parameters and contender."""
    return _all_of(results, work, [one for one in metrics_of(results, work) if one not in COSTS])


def costs(results: Results, work: str) -> str:
    """Write what an operation of a work costs, as `in_full` does."""
    return _all_of(results, work, [one for one in metrics_of(results, work) if one in COSTS])


def _all_of(results: Results, work: str, metrics: list[str]) -> str:
    if not metrics:
        return ""
    notes = Notes()
    several = len(parameter_sets(results, work)) > 1
    words = ["with", "contender"] if several else ["contender"]
    rows = []
    for parameters in parameter_sets(results, work):
        for name in _doing(results, work, parameters):
            row = results.find(work, name, **parameters)
            line = [with_parameters(parameters), short(name)][-len(words) :]
            for metric in metrics:
                told = measured(row, metric)
                line.append(told or notes.mark(_why(results, work, parameters, name, row)))
            rows.append(line)
    heads = [HEADS.get(metric, METRICS[metric].title) for metric in metrics]
    return with_notes(table([*words, *heads], rows, len(words)), notes)


def _why(
    results: Results, work: str, parameters: Parameters, contender: str, row: Row | None
) -> str:
    """Return why one metric is missing, which may be there for others."""
    if row is not None and row.figures:
        return "not counted there"
    return why_missing(results, work, parameters, contender, row)


def _everyone(results: Results, work: str) -> list[str]:
    """Return those with figures of a work, and those that should have had some."""
    failed = {row.contender for row in rows_of(results, work)}
    planned = {name for cell in cells() if cell.work == work for name in cell.contenders}
    return in_order([*contenders_of(results, work), *failed, *(planned & set(results.absent))])


def _doing(results: Results, work: str, parameters: Parameters) -> list[str]:
    """Return those that were to do a work with these parameters."""
    there = [row.contender for row in rows_of(results, work) if row.parameters == parameters]
    planned = [
        name
        for cell in cells()
        if (cell.work, cell.parameters) == (work, parameters)
        for name in cell.contenders
        if name in results.absent
    ]
    return in_order([*there, *planned])
