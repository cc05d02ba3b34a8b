"""Decide from its figures what limited a step of the growth, if anything.

A step gives if messages are lost, sends fail, or what is offered isn't carried in time. What has
given then is what was used up: a server, a process, the machine, or the capacity of a channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    Figures = Mapping[str, float]

# A step gives beyond these.
CARRIED = 0.95  # of what is offered
LATE = 1.0  # seconds for 99 of 100 messages
# And this is used up from here on.
CORE = 0.9  # of a core, for a process or a server
MACHINE = 0.9  # of all cores


class Gave(NamedTuple):
    """A limit: in a word or two, and in a sentence."""

    what: str
    text: str


def what_gave(figures: Figures, cores: int, nodes: int = 1) -> Gave | None:
    """Return the limit that was reached, or None.

    Args:
        figures: Those of the step.
        cores: How many the machine has.
        nodes: How many servers there are; each is taken to have its share.
    """
    seen = symptoms(figures)
    if not seen:
        return None
    used_up = _used_up(figures, cores, nodes)
    if used_up:
        what, how = used_up[0][0], [text for _, text in used_up]
    else:
        what, how = _without_cpu(figures), ["no CPU was used up"]
    return Gave(what, "; ".join([*seen, *how]))


def symptoms(figures: Figures) -> list[str]:
    """Return what went wrong in a step, as a site would see it."""
    seen = []
    if figures["lost"] > 0:
        seen.append(f"{figures['lost']:,.0f} deliveries lost")
    if figures["failed"] > 0:
        seen.append(f"{figures['failed']:,.0f} sends failed")
    if figures["deliveries"] < CARRIED * figures["offered"]:
        offered, carried = figures["offered"], figures["deliveries"]
        seen.append(f"{carried:,.0f} deliveries a second of {offered:,.0f} that were offered")
    if figures["p99"] > LATE:
        seen.append(f"99 of 100 messages within {figures['p99']:.2f} s")
    return seen


def _without_cpu(figures: Figures) -> str:
    """Return what a step lacked that had all the CPU it could use."""
    if figures["failed"] > 0:
        return "failure"
    return "capacity" if figures["lost"] > 0 else "latency"


def _used_up(figures: Figures, cores: int, nodes: int) -> list[Gave]:
    """Return which CPUs had no more to give."""
    server, client, machine = (
        figures["server_cpu"] / nodes,
        figures["busiest_client"],
        figures["machine_cpu"],
    )
    found = []
    if server >= CORE:
        found.append(Gave("server CPU", f"the server used {server * 100:.0f} % of a core"))
    if client >= CORE:
        found.append(Gave("client CPU", f"a client process used {client * 100:.0f} % of a core"))
    if machine >= MACHINE * cores:
        others = max(machine - figures["client_cpu"] - figures["server_cpu"], 0.0)
        busy = f"{machine:.1f} of the machine's {cores} cores were busy"
        found.append(Gave("machine CPU", f"{busy}, {others:.1f} of them with other things"))
    return found
