"""The tables of the contract, from the outcomes of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.promises import FORCES
from contract.layers import LAYERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conformance.promises import Promise

Run = dict[str, Any]


def tables(run: Run) -> str:
    """Return what stands in `docs/contract.md`: a table for each force, and one of versions."""
    parts = [f"### {force}\n\n{table(run, promises)}" for force, promises in FORCES.items()]
    return "\n\n".join([*parts, f"### Versions\n\n{versions(run)}"])


def table(run: Run, promises: type[Promise]) -> str:
    """The promises of one force, with a column for each layer; in a list, those all keep."""
    names = [name for name in LAYERS if "tests" in run["layers"].get(name, {})]
    lines = [
        f"| promise | {' | '.join(LAYERS[name].title for name in names)} |",
        f"| --- |{' :---: |' * len(names)}",
    ]
    kept = []
    for promise in promises:
        cells = [cell(run["layers"][name]["tests"], promise) for name in names]
        if set(cells) == {"yes"}:
            kept.append(f"- {promise.value}")
        else:
            lines.append(f"| {promise.value} | {' | '.join(cells)} |")
    if kept:
        lines += ["", "All layers:", "", *kept]
    return "\n".join(lines)


def cell(tests: Mapping[str, Mapping[str, str]], promise: Promise) -> str:
    """Return how many of the promise's tests passed."""
    checked = [one for one in tests.values() if one["promise"] == promise.name]
    outcomes = [one["outcome"] for one in checked]
    passed, failed = outcomes.count("passed"), outcomes.count("failed")
    # What a test needs an option for counts once the layer has any of the promise.
    lacking = sum(
        one["outcome"] == "skipped" and one["why"].startswith("it has no option") for one in checked
    )
    if not passed + failed:
        return "-"
    if not failed + lacking:
        return "yes"
    return f"{passed} of {passed + failed + lacking}" if passed else "no"


def versions(run: Run) -> str:
    """Return when each layer was checked, and with what; or why it was not."""
    lines = ["| layer | checked with | date |", "| --- | --- | --- |"]
    for name, layer in LAYERS.items():
        checked = run["layers"].get(name, {"unmeasured": "not run"})
        if "unmeasured" in checked:
            lines.append(f"| {layer.title} | not checked: {checked['unmeasured']} | |")
            continue
        used = [f"{one} {version}" for one, version in checked["versions"].items()]
        used += [server] if (server := checked["server"]) else []
        used.append(f"Python {checked['python']}")
        lines.append(f"| {layer.title} | {', '.join(used)} | {checked['date']} |")
    return "\n".join(lines)
