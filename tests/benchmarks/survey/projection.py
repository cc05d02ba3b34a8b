"""Project what 1, 10 and 100 Redis nodes carry from what was measured on one machine.

- Each node and each client process has a core like this machine's, of which it uses `USED`. There
  are as many clients as it takes, on other machines, and no network between them is a limit.
- The members of a group may be in any of the client processes. Groups are spread evenly over the
  nodes, and there are many more groups than nodes.
- The cost of a message is a straight line beyond what was measured, and each message is sent and
  fetched by itself. A busy node handles several together, so it carries at least what is projected.
- More nodes than were measured cost a message no more than those did.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.survey.costs import Unknown, costs_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.survey.costs import Costs
    from benchmarks.survey.results import Row

NODES = (1, 10, 100)
ROOM = 10  # members of a group
USED = 0.6  # of a core, by a server and by each client process: the rest is for bursts
MAX_CLIENTS = 10_000  # connections that a server takes unless it is told otherwise
ROUNDS = 100  # of the search for a number of processes that fits what they do


class Fleet(NamedTuple):
    """The number of client processes, and the load of these and of the nodes."""

    processes: float
    # That a group's members are in.
    held: float
    group_sends: float


def project(
    results_rows: Sequence[Row], growth: Sequence[Mapping[str, Any]], room: int = ROOM
) -> list[dict[str, Any]]:
    """Return a row for each contender and number of nodes.

    Args:
        results_rows: The survey's rows; of those without any, `direct` is None.
        growth: What `growth.grow` returned.
        room: How many members a group has.
    """
    rows = []
    for contender in dict.fromkeys(one["contender"] for one in growth):
        try:
            costs = costs_of(contender, results_rows, growth)
        except Unknown:
            continue
        rows += [_row(contender, costs, nodes, room) for nodes in NODES]
    return rows


def fleet(costs: Costs, nodes: int, room: int) -> Fleet:
    """Return how many processes keep so many nodes busy, and how many messages they carry then.

    The more processes there are, the more of them have members of a group, and the more a message
    to it costs; so both are looked for together.
    """
    server, client = (
        costs.sharded[name] if nodes > 1 else 1.0 for name in ("server_cpu", "client_cpu")
    )
    processes = 1.0
    held, sends = 1.0, 0.0
    for _ in range(ROUNDS):
        held = holders(processes, room)
        sends = nodes * USED / (costs.server.of(held, room) * server)
        processes = max(sends * costs.client.of(held, room) * client / USED, 1.0)
    return Fleet(processes, held, sends)


def holders(processes: float, members: int) -> float:
    """Return how many of the processes have one of the members, who are in any of them."""
    return processes * (1 - (1 - 1 / processes) ** members)


def _row(contender: str, costs: Costs, nodes: int, room: int) -> dict[str, Any]:
    """Return what so many nodes carry."""
    found = fleet(costs, nodes, room)
    several = nodes > 1
    traffic = costs.traffic.of(found.held, room) * (costs.sharded["bytes"] if several else 1.0)
    direct = costs.direct[several]
    processes = math.ceil(found.processes)
    row: dict[str, Any] = {
        "contender": contender,
        "nodes": nodes,
        "group_sends": found.group_sends,
        "deliveries": found.group_sends * room,
        "direct": nodes * USED / direct if direct else None,
        "bytes_per_second": found.group_sends / nodes * traffic,
        "client_processes": processes,
        "processes_of_a_group": found.held,
        "connections": math.ceil(processes * costs.connections[several]),
    }
    return {**row, "limit": limit(row)}


def limit(row: Mapping[str, Any]) -> str:
    """Return the limit of the nodes."""
    if row["connections"] > MAX_CLIENTS:
        return f"connections: {row['connections']:,} to each node, of {MAX_CLIENTS:,} by default"
    alone = row["group_sends"] / row["nodes"]
    return f"CPU of the nodes; a group alone gets what one node carries, {alone:,.0f} a second"
