"""Compare our layers with channels_redis 4.3.0: `hatch run benchmark:compare`.

The exit status is 1 if some work is below its floor, or fails.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.survey.plan import BEFORE
from benchmarks.survey.report import aligned, amount, widths_of
from benchmarks.survey.results import METRICS
from benchmarks.survey.running import Failed, run
from benchmarks.survey.services import redis_service
from benchmarks.survey.trial import Job

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.survey.services import RedisService

TIMEOUT = 60.0  # seconds for one round on one side
SECONDS = 0.6
OPTIONS = {"capacity": 20_000}  # No work here is about overflow.
HEAD = ("layer", "work", "metric", "theirs", "ours", "ratio", "floor", "")


class Work(NamedTuple):
    """A work with its parameters, the metric that counts, and the floor of each layer.

    A floor is the least ratio of the metrics; or with `most`, the highest figure of ours. Work that
    takes long, or comes out the same each time, runs `rounds` at most.
    """

    name: str
    metric: str
    floors: Mapping[str, float]
    parameters: Mapping[str, Any] = {}
    most: bool = False
    rounds: int = 1_000

    def floor(self, layer: str) -> str:
        """Return the floor of a layer as people write it."""
        limit = self.floors[layer]
        return f"< {limit:g}" if self.most else f"{limit:g}x"

    def holds(self, layer: str, ratio: float, ours: float) -> bool:
        """Return whether the medians are good enough."""
        return ours < self.floors[layer] if self.most else ratio >= self.floors[layer]


FLOORS = {
    "latency": Work("one-in-flight", "p50", {"queue": 2.5, "pubsub": 1.15}),
    "send-receive": Work("send-receive", "p50", {"queue": 2.5, "pubsub": 1.15}),
    "many-channels": Work("many-channels", "rate", {"queue": 22, "pubsub": 9}, rounds=3),
    "group-1": Work("group", "all_p50", {"queue": 2}, {"members": 1}),
    "group-100": Work("group", "all_p50", {"queue": 5, "pubsub": 1.3}, {"members": 100}),
    "group-1000": Work("group", "all_p50", {"queue": 11, "pubsub": 1.6}, {"members": 1_000}),
    "concurrent-groups": Work("broadcasts", "deliveries", {"queue": 13, "pubsub": 6}),
    "churn": Work("churn", "rate", {"queue": 2, "pubsub": 1.2}),
    "drain": Work("drain", "rate", {"queue": 4}),
    "group-bytes": Work(
        "group", "bytes", {"queue": 3_072}, {"members": 10_000}, most=True, rounds=1
    ),
    "group-calls": Work("group", "calls", {"queue": 20}, {"members": 10_000}, most=True, rounds=1),
    "other-processes": Work("other-processes", "p50", {"queue": 2}),
    "sync": Work("synchronous", "rate", {"queue": 2, "pubsub": 2}, {"threads": 1}, rounds=3),
    "sync-threads": Work(
        "synchronous", "rate", {"queue": 2, "pubsub": 2}, {"threads": 16}, rounds=3
    ),
    "sync-run": Work("sync-run", "rate", {"queue": 3, "pubsub": 3}, rounds=3),
    "sync-cost": Work("sync-cost", "times", {"queue": 3.0, "pubsub": 3.0}, most=True, rounds=2),
}


def main() -> int:
    """Measure what the arguments ask for, write it out, and return the exit status."""
    options = parse()
    layers = [options.layer] if options.layer else list(BEFORE)
    chosen = [
        (layer, name)
        for layer in layers
        for name, work in FLOORS.items()
        if layer in work.floors and name in (options.only or FLOORS)
    ]
    try:
        versions = ", ".join(f"{name} {version(name)}" for name in ("channels_redis", "redis"))
    except PackageNotFoundError as error:
        sys.exit(f"benchmark: {error}; run it as `hatch run benchmark:compare`")
    with redis_service(shards=1, cluster=False) as service:
        rows = [compare(layer, name, service, options) for layer, name in chosen]
        conditions = (
            f"{versions}, {service.software}, Python {platform.python_version()}, "
            f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
        )
    widths = widths_of([HEAD, *rows])
    lines = ["  ".join(aligned(row, widths)).rstrip() for row in (HEAD, *rows)]
    sys.stdout.write("\n".join([conditions, "", *lines, ""]))
    return 0 if all(row[-1] == "ok" for row in rows) else 1


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="hatch run benchmark:compare", description=__doc__)
    parser.add_argument("--layer", choices=list(BEFORE), help="one layer instead of both")
    parser.add_argument(
        "--only", action="append", choices=list(FLOORS), help="this work; repeatable"
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side (%(default)s)")
    parser.add_argument(
        "--self-check",
        action="store_true",
        help="channels_redis in place of ours: what is not 1.00x then is noise",
    )
    return parser.parse_args()


def compare(
    layer: str, name: str, service: RedisService, options: argparse.Namespace
) -> Sequence[str]:
    """Run the work on each side in turn, and return a row of the table."""
    work, theirs, ours = FLOORS[name], list[float](), list[float]()
    words = (layer, name, METRICS[work.metric].title)
    rounds = min(options.rounds, work.rounds)
    try:
        for number in range(rounds):
            sys.stderr.write(f"{layer} {name}: round {number + 1} of {rounds}\n")
            theirs.append(measure(BEFORE[layer], work, service))
            ours.append(measure(BEFORE[layer] if options.self_check else layer, work, service))
    except Failed as failure:
        sys.stderr.write(f"{layer} {name}: {failure}\n")
        return (*words, "", "", "", work.floor(layer), "failed")
    more_is_better = METRICS[work.metric].more_is_better
    # What slowed one side in a round slowed the other, or spoils that pair alone.
    pairs = zip(theirs, ours, strict=True)
    ratio = median(our / their if more_is_better else their / our for their, our in pairs)
    told = (amount(median(figures), METRICS[work.metric].unit) for figures in (theirs, ours))
    verdict = "ok" if work.holds(layer, ratio, median(ours)) else "below"
    return (*words, *told, f"{ratio:.2f}x", work.floor(layer), verdict)


def measure(contender: str, work: Work, service: RedisService) -> float:
    """Run the work in a new process, on the emptied server, and return its figure."""
    job = Job(contender, service.hosts, work.name, work.parameters, OPTIONS, SECONDS)
    return run(job, Path(sys.executable), service, timeout=TIMEOUT)[work.metric]


if __name__ == "__main__":
    sys.exit(main())
