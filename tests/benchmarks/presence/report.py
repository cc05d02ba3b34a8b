"""The figures of a run as a table, and the promises of the documentation that they break."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.survey.report import amount

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SERVERS = {"host": "one host", "shards": "three shards", "cluster": "Cluster"}
LAYERS = {"queue": "queue", "pubsub": "Pub/Sub"}
# Figures that have to be equal, and those with a maximum.
EQUAL = {
    "kill_leaves": "kill_people",
    "kill_most_leaves": "kill_people",
    "wave_joins": "wave_people",
    "wave_most_joins": "wave_people",
}
MAXIMUMS = {
    "kill_last": 80,
    "kill_wrong": 0,
    "kill_wrong_lists": 0,
    "move_events": 0,
    "loss_right": 60,
    "loss_leaves": 0,
}
# The first cell of a row; its figure and unit.
ROWS = {
    "a process with 1,000 people is killed: all have left after": ("kill_last", "s"),
    "leaves of each, in each other process": ("kill_times", ""),
    "100 people move to another process: joins and leaves": ("move_events", ""),
    "the server is emptied: all lists are right after": ("loss_right", "s"),
    "10,000 people join, in": ("wave_seconds", "s"),
    "all pages were told after": ("wave_told", "s"),
    "messages to each process": ("wave_messages", ""),
    "their bytes": ("wave_bytes", "bytes"),
    "CPU time of the server for each person": ("join_cpu", "s"),
    "a single change: CPU time of the server": ("change_cpu", "s"),
    "list of 10,000 people: CPU time of the server": ("list_cpu", "s"),
    "memory of the server for a person": ("person_memory", "bytes"),
}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the figures as a table in Markdown, a column for each layer and kind of servers."""
    heads = [f"{LAYERS[row['layer']]}, {SERVERS[row['servers']]}" for row in rows]
    lines = [_line(["", *heads]), _line(["---", *("---:" for _ in heads)])]
    for title, (name, unit) in ROWS.items():
        lines.append(_line([title, *(_cell(row["figures"], name, unit) for row in rows)]))
    return "\n".join(lines)


def broken(figures: Mapping[str, float]) -> Iterator[str]:
    """Yield each promise of the documentation that the figures of a row break."""
    for name, other in EQUAL.items():
        if figures[name] != figures[other]:
            yield f"{name} is {figures[name]:g}, not {figures[other]:g}"
    for name, maximum in MAXIMUMS.items():
        if figures[name] > maximum:
            yield f"{name} is {figures[name]:g}, more than {maximum}"


def _cell(figures: Mapping[str, float], name: str, unit: str) -> str:
    if name.endswith("_times"):
        trial = name.removesuffix("_times")
        least, most = (
            figures[f"{trial}_{what}"] / figures[f"{trial}_people"]
            for what in ("leaves", "most_leaves")
        )
        return amount(least, "") if least == most else f"{least:g} to {most:g}"
    return amount(figures[name], unit)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")
