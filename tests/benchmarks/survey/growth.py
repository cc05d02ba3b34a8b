"""Growth of costs: one quantity is doubled, step by step, up to a limit."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.survey.giving import what_gave
from benchmarks.survey.running import Failed, run
from benchmarks.survey.services import redis_service
from benchmarks.survey.trial import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.survey.services import Service

    Figures = dict[str, float]

SECONDS = 1.2  # that a step measures for
TIMEOUT = 40.0  # seconds for a step, with all that joins before it
ATTEMPTS = 2  # a machine that was busy with something else for a moment gives once, not twice
OURS = ("queue", "pubsub")

# What a step tells, and the work's own names of it; for a second, or as they are.
FIGURES = {
    "offered": "offered",
    "deliveries": "deliveries",
    "sent": "sent",
    "p99": "p99",
    "client_cpu": "cores",
    "busiest_client": "busiest",
    "machine_cpu": "machine",
    "lost": "lost",
    "failed": "failed",
}


class Attempt(NamedTuple):
    """The figures of a step, and its limit; no figures if it was never done."""

    figures: Figures
    gave: str | None


@dataclass(frozen=True)
class Axis:
    """Something that is doubled.

    Args:
        name: A parameter of the load: "rate", "members", "processes", "groups", "nodes".
        start: Where it begins.
        most: Where it ends, if nothing gives.
        base: The other parameters. With several groups, `rate` may be for each of them.
        contenders: Those that it is measured on; None for all.
        each_group: Whether `rate` is for each group.
    """

    name: str
    start: int
    most: int
    base: Mapping[str, int] = field(default_factory=dict)
    contenders: tuple[str, ...] | None = None
    each_group: bool = False

    def values(self) -> Iterator[int]:
        """Yield the value of each step."""
        value = self.start
        while value <= self.most:
            yield value
            value *= 2

    def parameters(self, value: int) -> dict[str, int]:
        """Return the parameters of the load at a step."""
        all_of_them = {"processes": 1, "groups": 1, "nodes": 1, **self.base, self.name: value}
        if self.each_group:
            all_of_them["rate"] *= all_of_them["groups"]
        return all_of_them


AXES = (
    Axis("rate", start=250, most=64_000, base={"members": 10}),
    Axis("members", start=256, most=32_768, base={"rate": 10}),
    Axis("processes", start=1, most=16, base={"members": 160, "rate": 200}, contenders=OURS),
    Axis(
        "groups",
        start=64,
        most=4_096,
        base={"members": 10, "rate": 4},
        contenders=OURS,
        each_group=True,
    ),
    Axis(
        "nodes",
        start=1,
        most=16,
        base={"members": 40, "processes": 4, "groups": 64, "rate": 400},
        contenders=OURS,
    ),
)


def grow(
    pythons: Mapping[str, Path],
    service: Service,
    contenders: Sequence[str],
    on_step: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Climb each axis with each contender.

    Args:
        pythons: The Python of each contender's environment.
        service: A Redis server.
        contenders: Their names; all of them on Redis.
        on_step: Called with what is measured next.

    Returns:
        For each axis and contender: `axis`, `base`, `contender`, `steps`; `what` gave, and
        `gave_at`, the step's value, None if nothing gave.
    """
    with contextlib.ExitStack() as stack:
        services = {1: service}

        def attempt(axis: Axis, name: str, value: int) -> Attempt:
            on_step(f"growth {axis.name} {value} {name}")
            parameters = axis.parameters(value)
            nodes = parameters["nodes"]
            if nodes not in services:
                services[nodes] = stack.enter_context(redis_service(shards=nodes, cluster=False))
            return measure(name, pythons[name], services[nodes], parameters)

        return [
            climb(axis, name, attempt)
            for axis in AXES
            for name in contenders
            if axis.contenders is None or name in axis.contenders
        ]


def climb(axis: Axis, name: str, attempt: Callable[[Axis, str, int], Attempt]) -> dict[str, Any]:
    """Take step after step until one has given in each attempt; return the row of it."""
    row: dict[str, Any] = {"axis": axis.name, "contender": name}
    row |= {"base": axis.parameters(axis.start), "steps": []}
    for value in axis.values():
        tried: list[Attempt] = []
        while len(tried) < ATTEMPTS and all(one.gave for one in tried):
            tried.append(attempt(axis, name, value))
        best = max(tried, key=_standing)
        if best.figures:
            row["steps"].append({"value": value, "figures": best.figures})
        if best.gave is not None:
            return {**row, "what": best.gave, "gave_at": value}
    return {**row, "what": "", "gave_at": None}


def _standing(attempt: Attempt) -> tuple[bool, float]:
    """Return what is greater, the better an attempt went."""
    return attempt.gave is None, attempt.figures.get("deliveries", -1.0)


def measure(name: str, python: Path, service: Service, parameters: Mapping[str, int]) -> Attempt:
    """Offer a load once; channels have the capacity that the contender gives them by itself."""
    job = Job(name, service.hosts, "load", parameters, {"capacity": None}, SECONDS)
    try:
        figures = figures_of(run(job, python, service, timeout=TIMEOUT))
    except Failed as failure:
        return Attempt({}, f"failure: {str(failure).splitlines()[-1]}")
    return Attempt(figures, what_gave(figures, os.cpu_count() or 1, parameters["nodes"]))


def figures_of(told: Mapping[str, float]) -> Figures:
    """Return the figures of a step from those of the work."""
    a_second = told["operations"] / told["seconds"]
    figures = {name: told[own] for name, own in FIGURES.items()}
    # This is counted for each message that was sent.
    return figures | {"server_cpu": told["server_cpu"] * a_second}
