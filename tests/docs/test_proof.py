"""The page on the proof has the figures of its runs."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soak.deployments import NAMES
from soak.sabotage import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "proof.md").read_text()
RUNS = json.loads((DOCS / "proof.json").read_text())
LAYERS = {"queue": "queue", "pubsub": "Pub/Sub"}
SEEDS = [1, 2, 3, 4, 5]


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    table = re.findall(r"^\| .*\|$", section, re.MULTILINE)[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def total(runs: list[dict[str, Any]], name: str) -> str:
    """The sum of a figure of some runs; of one that has parts, of all parts."""
    parts = [run[name] for run in runs]
    return f"{sum(sum(part.values()) if isinstance(part, dict) else part for part in parts):,}"


def select(part: str, **wanted: str) -> list[dict[str, Any]]:
    """The runs of a part that have these values."""
    return [run for run in RUNS[part] if run.items() >= wanted.items()]


def results() -> Iterator[list[str]]:
    """Yield the rows of the results: five seeds of each layer on each deployment."""
    for layer, shown in LAYERS.items():
        for deployment in NAMES:
            runs = select("runs", layer=layer, deployment=deployment)
            assert sorted(run["seed"] for run in runs) == SEEDS
            assert {run["minutes"] for run in runs} == {5.0}
            figures = (total(runs, name) for name in ("sent", "received", "faults", "violations"))
            yield [shown, f"`{deployment}`", *figures]


def found(runs: list[dict[str, Any]]) -> str:
    """The violations of some runs, by promise, the most frequent first."""
    counts: Counter[str] = Counter()
    for run in runs:
        counts.update(run["violations"])
    return ", ".join(f"{promise} {count:,}" for promise, count in counts.most_common())


def test_results() -> None:
    """Each row is the sum of five runs."""
    assert rows("Results") == list(results())


def test_no_other_violations() -> None:
    """Neither the runs with browsers that resume had any, nor the long ones."""
    assert len(RUNS["recovery"]) == 6
    assert len(RUNS["long"]) == 2
    assert not any(run["violations"] for run in RUNS["recovery"] + RUNS["long"])


def test_sabotage() -> None:
    """Each sabotage was found, in what the table says."""
    expected = [
        [f"`{kind}`", LAYERS[layer], found(runs)]
        for kind in KINDS
        for layer in LAYERS
        if (runs := select("sabotage", sabotage=kind, layer=layer))
    ]
    assert rows("Sabotage") == expected
    assert {row[0] for row in expected} == {f"`{kind}`" for kind in KINDS}
    assert all(row[2] for row in expected)


def test_channels_redis_4() -> None:
    """The violations of 4.3.0 are those of its runs."""
    assert rows("channels_redis 4.3.0") == [
        [f"`{run['layer']}`", f"{run['sent']:,}", found([run])] for run in RUNS["foreign"]
    ]
