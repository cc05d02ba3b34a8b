"""The rates and sizes of a process's load."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

GROUPS = ("all", "room-1", "room-2", "room-3")
ALL = GROUPS[0]  # every consumer is a member for its whole life
KEPT = ("kept-1", "kept-2")  # groups with a history
JOBS = "jobs"  # the general channel that all processes read
PEOPLE = "people"  # the group in which presence tracks all consumers
SOLO = "solo-"  # begins the names of general channels that one process reads

SMALLEST, LARGEST = 10, 200_000  # bytes of a message


@dataclass(frozen=True)
class Load:
    """The load in each process.

    Attributes:
        consumers: Channels of the process that are received from at any time.
        workers: Calls of `receive` at the general channel that all processes read.
        senders: Tasks that send, beside one thread.
        pause: The mean of the seconds between two turns of a sender.
        life: The mean of the seconds that a consumer lives.
        stay: The mean of the seconds between two changes of a consumer's groups.
        visits: The share of a thread's turns in which it runs a consumer in a loop of its own.
    """

    consumers: int = 4
    workers: int = 2
    senders: int = 3
    pause: float = 0.45
    life: float = 20.0
    stay: float = 4.0
    visits: float = 0.1


def padding(chance: random.Random) -> int:
    """Return the bytes to add to a message: mostly few, rarely very many."""
    # The exponent's square makes small ones frequent: the median is about a hundred bytes.
    exponent = chance.random() ** 2 * math.log(LARGEST / SMALLEST)
    return int(SMALLEST * math.exp(exponent)) - SMALLEST
