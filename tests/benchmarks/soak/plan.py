"""The phases of a soak: calm, load and faults."""

from __future__ import annotations

from dataclasses import dataclass

# Seconds of a cycle. Its calm is longer than a visit and what a layer keeps for a while after it: a
# minute, the channel of a consumer that has ended, or what a process that was killed has claimed.
CYCLE = 120.0
FEWEST_CYCLES = 2
# What a run has before it is compared with: caches fill, and the allocator finds its size.
WARM_UP = 0.2
# Shares of a cycle; the rest is calm.
LOAD, KILLS, FAULTS = 0.175, 0.1, 0.1
# Options of the queue layer, so small that all it has written expires within one calm. The bell of
# a message key lives ten times as long as a message.
EXPIRY, GROUP_EXPIRY = 5, 40
WORKERS = 3
# Consumers in each worker that stay for the whole run, and that everything sent to all must reach.
RESIDENTS = 4


@dataclass(frozen=True)
class Plan:
    """The number of phases, and their seconds.

    Attributes:
        cycles: How often there is load, then trouble, then calm.
        load: Seconds in which nothing goes wrong, and no message may be lost.
        kills: Seconds in which connections are killed: the queue layer loses nothing by that.
        faults: Seconds in which processes and the server are taken away as well.
        calm: Seconds until the figures are read.
    """

    cycles: int
    load: float
    kills: float
    faults: float
    calm: float

    @property
    def seconds(self) -> float:
        """The total duration."""
        return self.cycles * self.cycle

    @property
    def cycle(self) -> float:
        """The duration of one cycle."""
        return self.load + self.kills + self.faults + self.calm

    @property
    def tells_of_leaks(self) -> bool:
        """True if a calm is long enough for everything to expire that does."""
        return self.cycle >= CYCLE

    @property
    def first(self) -> int:
        """The cycle whose calm the last one is compared with."""
        return max(0, min(round(self.cycles * WARM_UP) - 1, self.cycles - 2))


def plan(minutes: float) -> Plan:
    """Return what to do in so many minutes."""
    seconds = minutes * 60
    cycles = max(FEWEST_CYCLES, int(seconds // CYCLE))
    each = seconds / cycles
    load, kills, faults = each * LOAD, each * KILLS, each * FAULTS
    return Plan(cycles, load, kills, faults, each - load - kills - faults)
