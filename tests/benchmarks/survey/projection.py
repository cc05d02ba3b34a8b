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

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from benchmarks.survey.costs import Costs

NODES = (1, 10, 100)
ROOM = 10  # members of a group
USED = 0.6  # of a core, by a server and by each client process: the rest is for bursts
ROUNDS = 100  # of the search for a number of processes that fits what they do


class Fleet(NamedTuple):
    """The number of client processes, and the load of these and of the nodes."""

    processes: float
    # That a group's members are in.
    held: float
    group_sends: float


def fleet(costs: Costs, nodes: int) -> Fleet:
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
        held = holders(processes)
        sends = nodes * USED / (costs.server.of(held, ROOM) * server)
        processes = max(sends * costs.client.of(held, ROOM) * client / USED, 1.0)
    return Fleet(processes, held, sends)


def holders(processes: float) -> float:
    """Return how many of the processes have one of the members, who are in any of them."""
    return processes * (1 - (1 - 1 / processes) ** ROOM)
