"""A contender's cost of a group message, by its parts.

It costs something by itself, something for each process that has members of the group, and
something for each member; two axes of the growth tell the three apart.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.survey.results import Row


class Unknown(Exception):
    """Something was not measured, or gave too early to tell anything."""


@dataclass(frozen=True)
class Cost:
    """The cost of one message to a group, in any unit."""

    fixed: float
    process: float
    member: float

    def of(self, processes: float, members: float) -> float:
        """Return the cost of a message to so many members in so many processes."""
        return self.fixed + self.process * processes + self.member * members


@dataclass(frozen=True)
class Costs:
    """All that is known of a contender.

    Args:
        server: Seconds of CPU of all nodes together, for a message.
        client: Seconds of CPU of all client processes, for a message.
        traffic: Bytes into and out of the nodes, for a message.
        sharded: How many times as much each costs on several nodes, by the name of the figure.
        connections: Of each process to the one node, and to each of several.
        direct: Seconds of a server for a message to one channel: with one node, with several.
    """

    server: Cost
    client: Cost
    traffic: Cost
    sharded: Mapping[str, float]
    connections: tuple[float, float]
    direct: tuple[float | None, float | None]


def costs_of(
    contender: str, results_rows: Sequence[Row], growth: Sequence[Mapping[str, Any]]
) -> Costs:
    """Find out what a contender costs.

    Raises:
        Unknown: An axis is missing, or gave before its third step.
    """
    spread, size, nodes = (
        _axis_of(growth, name, contender) for name in ("processes", "members", "nodes")
    )
    few, *more = _kept_up(nodes)
    members, processes = spread["base"]["members"], nodes["base"]["processes"]
    # With fewer nodes than processes, some processes share one.
    many = [step for step in more if step["value"] >= processes] or more[-1:]

    def cost(figure: str) -> Cost:
        for_process, rest = _line(_kept_up(spread), figure)
        for_member, _ = _line(_kept_up(size), figure)
        return Cost(max(rest - for_member * members, 0.0), for_process, for_member)

    def several(figure: str) -> float:
        """Return how many times as much it is for a message on several nodes, never below 1."""
        return max(statistics.median(_each(one, figure) for one in many) / _each(few, figure), 1.0)

    return Costs(
        server=cost("server_cpu"),
        client=cost("client_cpu"),
        traffic=cost("bytes"),
        sharded={figure: several(figure) for figure in ("server_cpu", "client_cpu", "bytes")},
        connections=(
            _slope([(one["value"], one["figures"]["connections"]) for one in _kept_up(spread)])[0],
            # One more process sends.
            many[-1]["figures"]["connections"] / many[-1]["value"] / (processes + 1),
        ),
        direct=_direct(results_rows, contender),
    )


def _axis_of(growth: Sequence[Mapping[str, Any]], name: str, contender: str) -> Mapping[str, Any]:
    """Return what a contender grew like along an axis.

    Raises:
        Unknown: It was not measured.
    """
    for one in growth:
        if (one["axis"], one["contender"]) == (name, contender):
            return one
    raise Unknown(name)


def _kept_up(axis: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the steps in which nothing gave.

    Raises:
        Unknown: There are fewer than two.
    """
    steps = [step for step in axis["steps"] if step["value"] != axis["gave_at"]]
    if len(steps) < 2:
        raise Unknown(axis["axis"])
    return steps


def _each(step: Mapping[str, Any], figure: str) -> float:
    """Return what a message costs, from what a second does."""
    cost: float = step["figures"][figure] / step["figures"]["sent"]
    return cost


def _line(steps: Sequence[Mapping[str, Any]], figure: str) -> tuple[float, float]:
    return _slope([(step["value"], _each(step, figure)) for step in steps])


def _slope(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return by how much the line through the points rises, never below 0, and where it begins."""
    across, up = zip(*points, strict=True)
    slope = max(statistics.linear_regression(across, up).slope, 0.0)
    return slope, statistics.fmean(up) - slope * statistics.fmean(across)


def _direct(rows: Sequence[Row], contender: str) -> tuple[float | None, float | None]:
    """Return what a direct message costs the servers, with one node and with several."""
    alone, shared, most = None, None, 1
    for row in rows:
        if (row.work, row.contender) == ("many-channels", contender):
            if not row.parameters:
                alone = row.median("server_cpu")
            elif row.parameters.keys() == {"shards"} and row.parameters["shards"] > most:
                shared, most = row.median("server_cpu"), row.parameters["shards"]
    return alone, shared
