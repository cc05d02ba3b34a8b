"""What stands on the first screen of the page, and what was compared on which machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.survey.plan import cells
from benchmarks.survey.report import figures, findings, prose
from benchmarks.survey.report.compare import headline, parameter_sets
from benchmarks.survey.report.names import BEFORE, RAW, in_order, layer_class, short, title
from benchmarks.survey.report.names import with_parameters as written
from benchmarks.survey.report.reasons import brief, without_folders
from benchmarks.survey.report.sections import details
from benchmarks.survey.report.tables import HEADS, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.survey.report.compare import Parameters
    from benchmarks.survey.results import Results

KNOWN = {
    "machine": "processor",
    "cpus": "cores",
    "memory": "memory",
    "system": "system",
    "python": "Python",
    "servers": "servers",
    "started": "started",
    "minutes": "minutes",
    "rounds": "rounds",
    "load": "load of the machine before",
}
# A list that is longer is folded away.
AT_ONCE = 6


def first_screen(results: Results) -> list[str]:
    """Say how ours compare with channels_redis 4.3.0's, and where they are behind."""
    head = ["work", "by"]
    head += [f"{short(ours)} / {short(theirs)}" for ours, theirs in BEFORE.items()]
    head += [f"{short(ours)}, of raw" for ours in RAW]
    rows = [row for row in map(_row(results), _main(results)) if set(row[2:]) != {"-"}]
    parts = [prose.SUMMARY]
    if rows:
        told = prose.TIMES.format(theirs=findings.THEIRS, rounds=rounds_of(results))
        parts += [table(head, rows, words=2), told]
    parts += [" ".join(findings.overall(results))]
    behind, others = findings.worse(results), findings.compared_with(results)
    if not others:
        return parts
    if behind:
        title_of_it = f"Where ours are behind {others}"
        points = "\n".join(f"- {one}" for one in behind)
        long = len(behind) > AT_ONCE
        parts += [details(title_of_it, points)] if long else [f"{title_of_it}:", points]
    else:
        parts.append(f"Nowhere are they behind {others}.")
    return parts


def _main(results: Results) -> Iterator[tuple[str, Parameters]]:
    """Yield the cells that stand for each work: those of a quick run, and waiting."""
    for cell in cells():
        there = cell.parameters in parameter_sets(results, cell.work)
        if there and (cell.quick or cell.work == "idle"):
            yield cell.work, cell.parameters


def _row(results: Results) -> Any:
    """Return what writes a line of the table for a work and its parameters."""

    def line(cell: tuple[str, Parameters]) -> list[str]:
        work, parameters = cell
        metric = headline(results, work) or ""
        setting = f" ({written(parameters)})" if parameters else ""
        before = findings.against(results, work, parameters, metric, of=BEFORE)
        raw = findings.against(results, work, parameters, metric, of=RAW)
        return [
            f"{prose.HEADINGS[work]}{setting}",
            HEADS[metric] if metric else "-",
            *(str(before[ours]) if ours in before else "-" for ours in BEFORE),
            *(figures.percent(raw[ours].median) if ours in raw else "-" for ours in RAW),
        ]

    return line


def compared(results: Results) -> list[str]:
    """Say who took part, in which versions, and who did not."""
    everyone = in_order([*results.versions, *(row.contender for row in results.rows)])
    rows = [
        [
            short(name),
            f"`{layer_class(name)}`" if layer_class(name) else title(name),
            ", ".join(f"{what} {number}" for what, number in _versions(results, name)) or "-",
        ]
        for name in everyone
    ]
    parts = [
        "## What was compared",
        table(["here called", "what it is", "versions"], rows, words=3),
    ]
    parts += [f"{title(name)} is missing: {brief(why)}." for name, why in results.absent.items()]
    return parts


def _versions(results: Results, contender: str) -> list[tuple[str, str]]:
    return list(results.versions.get(contender, {}).items())


def conditions(results: Results) -> list[str]:
    """Say on what, when and how it was measured."""
    told = {**{name: results.conditions.get(name) for name in KNOWN}, **results.conditions}
    rows = [
        [KNOWN.get(name, name), _condition(value)]
        for name, value in told.items()
        if value is not None and name != "command"
    ]
    parts = ["### Measured on"]
    parts += [table(["", "what it is"], rows, words=2)] if rows else []
    if command := results.conditions.get("command"):
        parts += ["This does it again:", f"```console\n{without_folders(command)}\n```"]
    return parts


def rounds_of(results: Results) -> str:
    """Say how many rounds there were."""
    rounds = results.conditions.get("rounds")
    if rounds is None:
        return prose.ROUNDS_UNKNOWN
    return f"{rounds} {'round' if rounds == 1 else 'rounds'}"


def _condition(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
