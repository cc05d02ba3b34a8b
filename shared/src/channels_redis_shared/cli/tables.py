"""Shows what was found to a person."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ..ops.logs import shown
from .findings import Level

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .findings import Diagnosis, Finding, Section
    from .subject import Overview

# Columns where there is no terminal that has a width.
WIDTH = 100
_MARKS = {
    Level.OK: Text("ok", "green"),
    Level.NOTE: Text("note", "cyan"),
    Level.WARNING: Text("warning", "yellow"),
    Level.ERROR: Text("error", "bold red"),
}
_OUTCOMES = {
    0: Text("All is well.", "green"),
    1: Text("It works, with warnings: each says what to change.", "yellow"),
    2: Text("It does not work: each error says what to change.", "bold red"),
}


def new_console() -> Console:
    """Return what to print to."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)


def shown_diagnosis(diagnosis: Diagnosis) -> RenderableType:
    """Return a table for each section, what it comes to, and the block for a bug report."""
    versions = Text("\n".join(f"{name} {number}" for name, number in diagnosis.versions.items()))
    return Group(
        *(_section(section) for section in diagnosis.sections),
        Text("For a bug report:", "bold"),
        versions,
        Text(),
        _OUTCOMES[diagnosis.status],
    )


def shown_overview(title: str, overview: Overview, most: int) -> RenderableType:
    """Return tables of a layer's channels and groups, the largest first.

    Args:
        title: The layer.
        overview: What it has.
        most: How many rows a table has.
    """
    waiting = {name: count for name, count in overview.channels.items() if count is not None}
    channels = Table("channel", box=box.SIMPLE_HEAD, title_justify="left")
    channels.title = Text(f"{len(overview.channels)} channels", "bold")
    if waiting or not overview.channels:
        channels.add_column("waiting messages", justify="right")
        channels.title.append(f", {sum(waiting.values())} waiting messages")
    if overview.foreign:
        channels.title.append(f", {overview.foreign} names that are not the layer's")
    by_size = sorted(overview.channels.items(), key=lambda item: (-(item[1] or 0), item[0]))
    for name, count in by_size[:most]:
        channels.add_row(Text(name), *([] if count is None else [str(count)]))
    groups = Table("group", box=box.SIMPLE_HEAD, title_justify="left")
    groups.title = Text(f"{overview.groups} groups", "bold")
    groups.add_column("processes", justify="right")
    groups.add_column("members", justify="right")
    for group in overview.largest_groups:
        members = "unknown" if group.members is None else str(group.members)
        groups.add_row(Text(group.name), str(group.processes), members)
    return Group(Text(shown(title), "bold"), channels, groups)


def _section(section: Section) -> Table:
    table = Table(box=box.SIMPLE, show_header=False, title_justify="left", expand=True)
    table.title = Text(shown(section.title), "bold")
    table.add_column(width=7)
    table.add_column(min_width=14)
    table.add_column(ratio=1)
    for finding in section.findings:
        table.add_row(_MARKS[finding.level], Text(finding.subject), _text(finding))
    return table


def _text(finding: Finding) -> Text:
    # Servers say some of it, and might rule the terminal.
    text = Text("\n".join(map(shown, finding.text.splitlines())))
    if finding.advice:
        text.append("\n→ " + finding.advice, "bold")
    return text
