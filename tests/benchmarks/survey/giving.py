"""Decide from its figures what limited a step of the growth, if anything.

A step gives if messages are lost, sends fail, or what is offered isn't carried in time. What has
given then is what was used up: a server, a process, the machine, or the capacity of a channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    Figures = Mapping[str, float]

# A step gives beyond these.
CARRIED = 0.95  # of what is offered
LATE = 1.0  # seconds for 99 of 100 messages
# And this is used up from here on.
CORE = 0.9  # of a core, for a process or a server
MACHINE = 0.9  # of all cores


def what_gave(figures: Figures, cores: int, nodes: int) -> str | None:
    """Return the limit that was reached, or None.

    Args:
        figures: Those of the step.
        cores: How many the machine has.
        nodes: How many servers there are; each is taken to have its share.
    """
    carried = figures["deliveries"] >= CARRIED * figures["offered"] and figures["p99"] <= LATE
    if carried and figures["lost"] <= 0 and figures["failed"] <= 0:
        return None
    if figures["server_cpu"] / nodes >= CORE:
        return "server CPU"
    if figures["busiest_client"] >= CORE:
        return "client CPU"
    if figures["machine_cpu"] >= MACHINE * cores:
        return "machine CPU"
    if figures["failed"] > 0:
        return "failure"
    return "capacity" if figures["lost"] > 0 else "latency"
