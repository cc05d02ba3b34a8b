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
    """The cost of a contender's group messages.

    Args:
        server: Seconds of CPU of all nodes together, for a message.
        client: Seconds of CPU of all client processes, for a message.
        sharded: How many times as much each costs on several nodes, by the name of the figure.
    """

    server: Cost
    client: Cost
    sharded: Mapping[str, float]


def costs_of(contender: str, growth: Sequence[Mapping[str, Any]]) -> Costs:
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
        for_process, rest = _slope(_kept_up(spread), figure)
        for_member, _ = _slope(_kept_up(size), figure)
        return Cost(max(rest - for_member * members, 0.0), for_process, for_member)

    def several(figure: str) -> float:
        """Return how many times as much it is for a message on several nodes, never below 1."""
        return max(statistics.median(_each(one, figure) for one in many) / _each(few, figure), 1.0)

    return Costs(
        server=cost("server_cpu"),
        client=cost("client_cpu"),
        sharded={figure: several(figure) for figure in ("server_cpu", "client_cpu")},
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


def _slope(steps: Sequence[Mapping[str, Any]], figure: str) -> tuple[float, float]:
    """Return by how much the line through the steps rises, never below 0, and where it begins."""
    across, up = zip(*((step["value"], _each(step, figure)) for step in steps), strict=True)
    slope = max(statistics.linear_regression(across, up).slope, 0.0)
    return slope, statistics.fmean(up) - slope * statistics.fmean(across)
