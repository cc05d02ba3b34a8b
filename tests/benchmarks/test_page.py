"""The figures on the pages on benchmarks, which are written by hand, are those of the run."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.survey.plan import BARE, BEFORE, SMALL
from benchmarks.survey.report import SHOWN, amount, better, times
from benchmarks.survey.results import METRICS, Results

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("benchmarks.md", "benchmarks-details.md")
PAGE = "\n".join((DOCS / page).read_text(encoding="utf-8") for page in PAGES)
RUN = Results.load(DOCS / "benchmarks.json")
COLUMNS = {
    "queue": "queue",
    "queue 4.3.0": "queue-4.3",
    "Pub/Sub": "pubsub",
    "Pub/Sub 4.3.0": "pubsub-4.3",
    "channels-nats": "nats",
}
MB = {"payload": 1_000_000}


def group(members: int, processes: int) -> dict[str, Any]:
    """Return the parameters of a group."""
    return {"members": members, "processes": processes}


# The first cell of each row, and what its other cells are about.
WORK: dict[str, tuple[str, dict[str, Any], str]] = {
    "`send`, until the waiting consumer has it": ("one-in-flight", {}, "p50"),
    "`send` of 1 MB, until the waiting consumer has it": ("one-in-flight", MB, "p50"),
    "50 senders to 50 channels, messages": ("many-channels", {}, "rate"),
    "`group_send` to 10 members in 8 processes": ("fan-out", group(10, 8), "all_p50"),
    "`group_send` to 100 members in 1 process": ("fan-out", group(100, 1), "all_p50"),
    "`group_send` to 1,000 members in 4 processes": ("fan-out", group(1_000, 4), "all_p50"),
    "`group_send` to 10,000 members in 8 processes": ("fan-out", group(10_000, 8), "all_p50"),
    "50 `group_send` at once to 20 members, deliveries": ("broadcasts", {}, "deliveries"),
    "`new_channel`, `group_add`, `group_discard`": ("churn", {}, "rate"),
    "2 worker processes read one channel, messages": ("workers", {"workers": 2}, "rate"),
    "4 worker processes read one channel, messages": ("workers", {"workers": 4}, "rate"),
    "`async_to_sync(group_send)` from 1 thread": ("synchronous", {"threads": 1}, "rate"),
    "memory for 1,000 waiting consumers": ("idle", {}, "client_memory"),
    "to a channel: CPU time of the server": ("one-in-flight", {}, "server_cpu"),
    "to a channel: CPU time of the process": ("one-in-flight", {}, "client_cpu"),
    "to a channel: commands": ("one-in-flight", {}, "calls"),
    "1 MB to a channel: CPU time of the server": ("one-in-flight", MB, "server_cpu"),
    "to 100 members: CPU time of the server": ("fan-out", group(100, 1), "server_cpu"),
    "to 100 members: CPU time of the process": ("fan-out", group(100, 1), "client_cpu"),
    "to 100 members: bytes on the wire": ("fan-out", group(100, 1), "bytes"),
}


def test_tables_have_the_figures_of_the_run() -> None:
    """Each cell of each table is what the run has for its row and column."""
    tables = re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)
    assert len(tables) == 3
    for table in tables:
        head, _, *rows = (
            [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
        )
        assert rows == [[label, *cells(label, head[1:])] for label, *_ in rows]


def test_text_has_the_figures_of_the_run() -> None:
    """Each phrase with a figure is true of the run, and no figure stands outside of them."""
    text = " ".join(re.sub(r"^\|.*$", "", PAGE, flags=re.MULTILINE).split())
    known = sorted(phrases(), key=len, reverse=True)
    assert [phrase for phrase in known if phrase not in text] == []
    for phrase in known:
        text = text.replace(phrase, "")
    assert re.findall(r"(?:\S+ )?\S*\d\S*(?: \S+)?", text) == []


def cells(label: str, columns: Sequence[str]) -> Iterator[str]:
    """Yield what the cells of a row hold."""
    work, parameters, metric = WORK[label]
    for place, column in enumerate(columns):
        names = [column] if column in COLUMNS else columns[place - 2 : place]
        rows = [RUN.find(work, COLUMNS[name], **parameters) for name in names]
        figures = [row.figures[metric] for row in rows if row]
        if len(figures) < len(names):
            yield "-"
        elif column in COLUMNS:
            yield amount(median(figures[0]), METRICS[metric].unit)
        else:
            yield str(better(rows[0], rows[1], metric))


def ratios(ours: str, theirs: str, *metrics: str) -> list[float]:
    """Return how many times better ours is at all work of both, by these or the main metrics."""
    return [
        one.median
        for row in RUN.rows
        if row.contender == ours
        for metric in metrics or SHOWN[row.work][:1]
        if (one := better(row, RUN.find(row.work, theirs, **row.parameters), metric))
    ]


def phrases() -> Iterator[str]:
    """Yield the phrases with figures that the text consists of, in the figures of the run."""
    run, version = RUN.conditions, RUN.versions["queue-4.3"]["channels-redis"]
    yield from (f"`channels_redis` {version}", f"channels_redis {version}", f"with {version} in")
    yield from (f"{version} {kind} layer" for kind in ("queue", "Pub/Sub"))
    for ours, before in BEFORE.items():
        old, nats, bare = (ratios(ours, theirs) for theirs in (before, "nats", BARE[ours]))
        yield f"{sum(one > 1 for one in old)} of {len(old)} measurements"
        yield f"by {times(min(old))} to {times(max(old))} times (median {times(median(old))})"
        yield f"{sum(one < 1 for one in nats)} of {len(nats)}"
        yield f"{min(bare):.0%} to {max(bare):.0%}"
        tail = ratios(ours, before, "p99", "all_p99")
        yield f"{sum(one < 1 for one in tail)} of {len(tail)}"
    for row in RUN.rows:
        if row.contender == "queue":
            assert not any(row.figures.get("twice", []) + row.figures.get("lost", []))
        if row.contender == "queue-4.3" and row.parameters == {"workers": 4}:
            twice, lost = row.figures["twice"], row.figures["lost"]
            yield f"with 4 workers, it handled {min(twice):,} to {max(twice):,} messages"
            yield f"lost up to {max(lost):,} in a round"
        if row.contender == "queue-4.3" and row.note:
            yield f"with {row.parameters['shards']} hosts"
            yield f"the work of 50 senders was {row.note}"
        if (
            row.contender.startswith("pubsub")
            and (row.work, row.parameters) == WORK["50 senders to 50 channels, messages"][:2]
        ):
            yield f"{amount(median(row.figures['server_cpu']), 's')}"
    yield from (run["machine"], f"{run['cpus']} cores", run["memory"], run["system"])
    yield from (f"Python {run['python']}", *run["servers"].split(", "))
    for versions in RUN.versions.values():
        yield from (f"{name} {version}" for name, version in versions.items())
    yield from (run["started"].split()[0], f"{run['minutes']} minutes", run["command"])
    yield f"{run['rounds']} rounds"
    yield f"text of {SMALL} bytes"
    yield from ("99th percentile", "is below 1,", "with 50 senders", "5 s")
    yield "in under 3 minutes"
