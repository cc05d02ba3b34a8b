"""What 1, 10 and 100 Redis nodes carry, computed from what was measured on one machine.

Only the servers are taken to be the limit, so what a message costs them says how many they carry.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.survey.contenders import CONTENDERS
from benchmarks.survey.costs import Unknown, axis_of, costs_of, each, kept_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.survey.costs import Costs
    from benchmarks.survey.results import Row

NODES = (1, 10, 100)
ROOM = 10  # members of a group
USED = 0.6  # of a core, by a server and by each client process: the rest is for bursts
MAX_CLIENTS = 10_000  # connections that a server takes unless it is told otherwise
ROUNDS = 100  # of the search for a number of processes that fits what they do
MICRO = 1e6


class Fleet(NamedTuple):
    """How many client processes there are, and what they and the nodes carry."""

    processes: float
    # That a group's members are in.
    held: float
    group_sends: float


def project(
    results_rows: Sequence[Row], growth: Sequence[Mapping[str, Any]], room: int = ROOM
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row for each contender and number of nodes, and what all of them assume.

    Args:
        results_rows: The survey's rows; of those without any, `direct` is None.
        growth: What `growth.grow` returned.
        room: How many members a group has.
    """
    rows, known = [], {}
    for contender in dict.fromkeys(one["contender"] for one in growth):
        try:
            costs = known[contender] = costs_of(contender, results_rows, growth)
        except Unknown:
            continue
        rows += [_row(contender, costs, nodes, room) for nodes in NODES]
    return rows, list(assumptions(known, growth, room)) if known else []


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
    """Tell what keeps the nodes from carrying more."""
    if row["connections"] > MAX_CLIENTS:
        return f"connections: {row['connections']:,} to each node, of {MAX_CLIENTS:,} by default"
    alone = row["group_sends"] / row["nodes"]
    return f"CPU of the nodes; a group alone gets what one node carries, {alone:,.0f} a second"


def assumptions(
    known: Mapping[str, Costs], growth: Sequence[Mapping[str, Any]], room: int
) -> Iterator[str]:
    """Yield what the rows assume, in plain words."""
    yield (
        f"Each node and each client process has a core like this machine's, of which it uses "
        f"{USED * 100:.0f} %: the rest is for bursts. The clients are on other machines, as many "
        f"as it takes, and no network between them is a limit. Measured was on loopback."
    )
    yield (
        f"A group has {room} members, who may be in any client process: of 2 processes "
        f"{holders(2, room):.1f} have some of them, of 10 {holders(10, room):.1f}, of 100 "
        f"{holders(100, room):.1f}. Members that are kept together cost less."
    )
    yield (
        "Groups are spread evenly over the nodes, by their names, and there are many more of them "
        "than nodes. A group does not divide: Pub/Sub publishes each of its messages on one node; "
        "the queue layer reads its names there, and adds the message on the nodes of the processes."
    )
    yield (
        "What a message costs is a straight line beyond what was measured, too, and each message "
        "is sent and fetched by itself. A node that has much to do handles some together, so this "
        "is the least that it carries."
    )
    for contender, costs in known.items():
        title = CONTENDERS[contender].title
        yield f"{title}: {_cost_of_a_message(costs)}"
        yield f"{title}: {_cost_of_nodes(costs)}"
        yield from (f"{title}: {one}" for one in _credit(contender, growth))


def _cost_of_a_message(costs: Costs) -> str:
    server, client = costs.server, costs.client
    return (
        f"a message to a group costs the server {server.fixed * MICRO:.0f} µs, "
        f"{server.process * MICRO:.0f} µs more for each process that has members and "
        f"{server.member * MICRO:.3f} µs for each member; the clients {client.fixed * MICRO:.0f}, "
        f"{client.process * MICRO:.0f} and {client.member * MICRO:.1f} µs. Measured with up to "
        f"{costs.most['processes']} processes and up to {costs.most['members']:,} members."
    )


def _cost_of_nodes(costs: Costs) -> str:
    more, one = costs.sharded, costs.connections
    return (
        f"on {costs.most['nodes']} nodes a message costs {more['server_cpu']:.2f} "
        f"times the CPU of the servers, {more['client_cpu']:.2f} times that of the clients and "
        f"{more['calls']:.2f} times the commands that it costs on one; 10 and 100 nodes are taken "
        f"to cost as much. Each process has {one[0]:.1f} connections to a single node, and "
        f"{one[1]:.1f} to each of several."
    )


def _credit(contender: str, growth: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what a busy server saves, if that was measured."""
    try:
        slow, *_, fast = kept_up(axis_of(growth, "rate", contender))
    except Unknown:
        return
    ratio = each(fast, "server_cpu") / each(slow, "server_cpu")
    yield (
        f"at {fast['value']:,} messages a second each costs the server {ratio:.2f} "
        f"times what it costs at {slow['value']:,}, as one process sends and fetches several at "
        f"once. None of that is in the rows, which are from "
        f"{axis_of(growth, 'processes', contender)['base']['rate']:,} a second."
    )
