"""Projections from the growth of costs."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.survey.costs import Cost, costs_of
from benchmarks.survey.projection import NODES, USED, fleet, holders, project
from benchmarks.survey.results import Row

SERVER = Cost(0.0001, 0.00005, 0.0)
CLIENT = Cost(0.0002, 0.0001, 0.00001)


def step(value: int, members: int, processes: int, nodes: int = 1) -> dict[str, Any]:
    """Return a step of a second with 100 messages, which cost what `SERVER` and `CLIENT` say."""
    several = 1.5 if nodes > 1 else 1.0
    figures = {
        "sent": 100.0,
        "server_cpu": 100 * SERVER.of(processes, members) * several,
        "client_cpu": 100 * CLIENT.of(processes, members),
        "bytes": 100 * 1000.0 * processes,
        "calls": 100.0,
        "connections": (2.0 * processes + 2) * nodes,
    }
    return {"value": value, "figures": figures}


def growth() -> list[dict[str, Any]]:
    """Return what a contender grew like that costs what `SERVER` and `CLIENT` say."""
    base = {"members": 160, "processes": 1, "rate": 100}
    axes = {
        "members": [step(value, value, 1) for value in (100, 200, 400)],
        "processes": [step(value, 160, value) for value in (1, 2, 4, 8)],
        "nodes": [step(value, 40, 4, value) for value in (1, 2, 16)],
    }
    bases = {"members": base, "processes": base, "nodes": {**base, "members": 40, "processes": 4}}
    return [
        {"axis": name, "contender": "queue", "base": bases[name], "steps": steps, "gave_at": None}
        for name, steps in axes.items()
    ]


def test_costs_are_taken_apart() -> None:
    """Measurements by process and by member give the cost of each."""
    costs = costs_of("queue", [], growth())
    for found, right in ((costs.server, SERVER), (costs.client, CLIENT)):
        assert found.fixed == pytest.approx(right.fixed)
        assert found.process == pytest.approx(right.process)
        assert found.member == pytest.approx(right.member)
    assert costs.sharded["server_cpu"] == pytest.approx(1.5)
    assert costs.connections == pytest.approx((2.0, 2.0))


@pytest.mark.parametrize("nodes", NODES)
def test_fleet_keeps_nodes_and_processes_as_busy_as_they_may_be(nodes: int) -> None:
    """The load of nodes and processes is the cost of their messages."""
    costs = costs_of("queue", [], growth())
    processes, held, sends = fleet(costs, nodes, room=10)
    several = 1.5 if nodes > 1 else 1.0
    assert held == pytest.approx(holders(processes, 10))
    assert sends * SERVER.of(held, 10) * several == pytest.approx(nodes * USED)
    assert sends * CLIENT.of(held, 10) == pytest.approx(processes * USED)


def test_projection_has_a_row_for_each_number_of_nodes() -> None:
    """With what a node has to do, and what is measured elsewhere where it is."""
    rows = [
        Row("many-channels", parameters, "queue", {"server_cpu": [cost]})
        for parameters, cost in (({}, 0.001), ({"shards": 3}, 0.005), ({"shards": 8}, 0.002))
    ]
    one, ten, hundred = project(rows, growth())
    assert [row["nodes"] for row in (one, ten, hundred)] == [1, 10, 100]
    assert [row["direct"] for row in (one, ten, hundred)] == pytest.approx([600, 3_000, 30_000])
    assert ten["deliveries"] == 10 * ten["group_sends"]
    assert ten["bytes_per_second"] == pytest.approx(
        1000 * ten["processes_of_a_group"] * ten["group_sends"] / 10
    )
    assert ten["connections"] == 2 * ten["client_processes"]
    assert 8 < hundred["group_sends"] / ten["group_sends"] <= 10
