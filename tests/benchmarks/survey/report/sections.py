"""The sections that not every run has data for: growth, nodes, profiles, soak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.survey.report import figures, prose
from benchmarks.survey.report.names import SHORT, in_order, short, with_parameters
from benchmarks.survey.report.tables import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from benchmarks.survey.results import Results

    Picture = Callable[[str], str]

GROWING = {
    "members": "Members of a group",
    "processes": "Processes",
    "groups": "Groups",
    "rate": "Messages a second",
    "nodes": "Redis servers",
}
STEP = {
    "deliveries": ("deliveries a second", "1/s"),
    "p50": ("half within", "s"),
    "p99": ("99 % within", "s"),
    "client_cpu": ("cores busy: clients", "cores"),
    "server_cpu": ("server", "cores"),
    "lost": ("lost", "messages"),
}


# What a row of the projection tells: title and unit.
CARRIED = {
    "group_sends": ("group_send", "1/s"),
    "deliveries": ("deliveries", "1/s"),
    "direct": ("direct messages instead", "1/s"),
    "bytes_per_second": ("network of a node, a second", "bytes"),
    "client_processes": ("client processes", ""),
    "connections": ("connections to a node", ""),
}


def details(summary: str, *content: str) -> str:
    """Fold something away that is long."""
    return "\n\n".join(["<details>", f"<summary>{summary}</summary>", *content, "</details>"])


def growth(results: Results, picture: Picture) -> list[str]:
    """Show how the cost grows along each axis, and what gave in the end."""
    entries = results.growth
    if not entries:
        return []
    parts = [
        "## How cost grows",
        prose.GROWTH,
    ]
    for axis in dict.fromkeys(entry["axis"] for entry in entries):
        these = {entry["contender"]: entry for entry in entries if entry["axis"] == axis}
        everyone = in_order(these)
        title = next((one["title"] for one in these.values() if one.get("title")), "")
        parts += [
            f"### {GROWING.get(axis, axis.capitalize())}",
            f"Doubled: {title}." if title else "",
            picture(f"growth-{axis}"),
        ]
        ends = [_end(name, these[name]) for name in everyone]
        parts.append("\n".join(filter(None, ends)))
        rows = [
            [short(name), f"{step['value']:,}", *map(_step(step["figures"]), STEP)]
            for name in everyone
            for step in these[name]["steps"]
        ]
        head = ["contender", axis, *(title for title, _ in STEP.values())]
        parts.append(details("Each step", table(head, rows)))
    return parts


def _step(found: Mapping[str, float | None]) -> Callable[[str], str]:
    def written(metric: str) -> str:
        figure = found.get(metric)
        return "-" if figure is None else figures.amount(figure, STEP[metric][1])

    return written


def _end(contender: str, entry: Mapping[str, Any]) -> str:
    if not entry.get("gave"):
        return ""
    at = entry.get("gave_at")
    return f"- {short(contender)}{'' if at is None else f', at {at:,}'}: {entry['gave']}"


def nodes(results: Results) -> list[str]:
    """Show what some nodes carry, and what that is concluded from."""
    rows = results.projection
    if not rows:
        return []
    numbers = sorted({row["nodes"] for row in rows})
    counts = [f"{number:,}" for number in numbers]
    several = ", ".join(counts[:-1]) + f" and {counts[-1]}" if len(counts) > 1 else counts[0]
    head = ["contender", "nodes", *(title for title, _ in CARRIED.values()), "limited by"]
    cells = [
        [
            short(row["contender"]),
            f"{row['nodes']:,}",
            *(
                "-" if row.get(what) is None else figures.amount(row[what], unit)
                for what, (_, unit) in CARRIED.items()
            ),
            row["limit"],
        ]
        for row in rows
    ]
    parts = [
        f"## What {several} nodes carry",
        prose.NODES,
        table(head, cells, words_last=1),
    ]
    if taken := results.assumptions:
        parts += ["This takes for granted:", "\n".join(f"- {one}" for one in taken)]
    return parts


def profiles(results: Results) -> list[str]:
    """Show where the time goes in clients and server."""
    found = results.profiles
    if not found:
        return []
    parts = [
        "## Where the time goes",
        prose.PROFILES,
    ]
    for path in dict.fromkeys(map(_path, found)):
        parts.append(f"### {path}: profile")
        for side, title in (("client", "the clients"), ("server", "the server")):
            these = [one for one in found if (_path(one), one["side"]) == (path, side)]
            if these:
                parts += _shares(these, title)
    return parts


def _path(profile: Mapping[str, Any]) -> str:
    """Return what a profile is of, in words."""
    heading = prose.HEADINGS.get(profile["work"], profile["work"])
    parameters = profile.get("parameters")
    return f"{heading} ({with_parameters(parameters)})" if parameters else heading


def _shares(found: list[dict[str, Any]], title: str) -> list[str]:
    """Show what takes the time of one side, the contenders beside each other."""
    shares = {
        one["contender"]: {entry["what"]: entry["share"] for entry in one["entries"]}
        for one in found
    }
    everyone = in_order(shares)
    # As the profiles list them: what is unlike in some of them comes last.
    named = dict.fromkeys(what for name in everyone for what in shares[name])
    rows = [[what, *(_share(shares[name].get(what)) for name in everyone)] for what in named]
    notes = [f"{short(one['contender'])} {one['note']}" for one in found if one.get("note")]
    return [table([title, *map(short, everyone)], rows), f"{'; '.join(notes)}." if notes else ""]


def _share(share: float | None) -> str:
    return "-" if share is None else figures.percent(share)


def soak(results: Results, picture: Picture) -> list[str]:
    """Show what a long run with faults came to."""
    layers = results.soaked
    if not layers:
        return []
    verdicts = [
        (_layer(name), one) for name, layer in layers.items() for one in layer.get("verdicts", [])
    ]
    flat = sum(one["flat"] for _, one in verdicts)
    minutes = figures.count(round(results.soak_minutes))
    parts = [
        "## Soak",
        prose.SOAK.format(
            started=results.soak_started, minutes=minutes, quantities=len(verdicts), flat=flat
        ),
        "\n".join(
            f"- {layer}: {one['quantity']} grew from {_quantity(one, 'first')} to "
            f"{_quantity(one, 'last')}; the limit is {_quantity(one, 'limit')}"
            for layer, one in verdicts
            if not one["flat"]
        ),
        picture("soak"),
        _phases(layers),
    ]
    rows = [
        [
            layer,
            one["quantity"],
            *(_quantity(one, key) for key in ("first", "last", "limit")),
            "no" if one["flat"] else "**yes**",
        ]
        for layer, one in verdicts
    ]
    if rows:
        head = ["layer", "quantity", "first", "last", "limit", "grows"]
        parts.append(details("What must not grow", table(head, rows, words=2)))
    return [*parts, *(_told(layers, title) for title in ("messages", "faults"))]


def _told(layers: Mapping[str, Mapping[str, Any]], title: str) -> str:
    """Show what a run told of each layer under this title, the layers beside each other."""
    named = dict.fromkeys(what for layer in layers.values() for what in layer.get(title) or {})
    rows = [
        [
            what.replace("_", " "),
            *(_plain((layer.get(title) or {}).get(what, "-")) for layer in layers.values()),
        ]
        for what in named
    ]
    return table([title, *map(_layer, layers)], rows) if rows else ""


def _layer(name: str) -> str:
    return short(name) if name in SHORT else name


def _quantity(verdict: Mapping[str, Any], key: str) -> str:
    value = verdict.get(key)
    if value is None:
        return "-"
    of_memory = "rss" in verdict["quantity"] or "memory" in verdict["quantity"]
    return figures.amount(value, "bytes" if of_memory else "")


def _phases(layers: Mapping[str, Mapping[str, Any]]) -> str:
    """Say what the numbers above the plot stand for."""
    samples: Iterable[Mapping[str, Any]] = next(iter(layers.values())).get("samples", [])
    phases: list[str] = []
    for sample in sorted(samples, key=lambda one: float(one["t"])):
        if not phases or phases[-1] != sample["phase"]:
            phases.append(str(sample["phase"]))
    numbered = (f"{number} {phase}" for number, phase in enumerate(phases, start=1))
    return f"Phases: {', '.join(numbered)}." if phases else ""


def _plain(value: Any) -> str:
    """Write whatever a run told, in one cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return figures.count(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return str(value)
