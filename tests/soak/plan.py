"""The phases of a soak and their seconds."""

from __future__ import annotations

from dataclasses import dataclass

from soak.checker import RECOVERY

SHORTEST = 1.0  # minutes


@dataclass(frozen=True)
class Plan:
    """The seconds of each phase.

    Attributes:
        warm_up: There is load, and no fault.
        faults: There are both.
        flow: There is load and no fault. After the first ten of them, everything has to flow.
        drain: There is no load, and what was sent arrives.
        settle: The most until the figures are what they were before the faults; 0: not compared.
    """

    warm_up: float
    faults: float
    flow: float
    drain: float
    settle: float


def plan(minutes: float) -> Plan:
    """Return what to do in so many minutes."""
    seconds = minutes * 60
    drain = 6.0
    flow = RECOVERY + min(10.0, seconds / 10)
    warm_up = min(15.0, seconds / 10)
    # With some left for the start, and for figures that take a while.
    settle = 45.0 if minutes >= 2 else 0.0
    used = warm_up + flow + 2 * drain + settle / 2
    return Plan(warm_up, max(1.0, seconds - used), flow, drain, settle)
