"""The rates and sizes of a process's load."""

from __future__ import annotations

import math
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


# In each process.
CONSUMERS = 4  # channels that are received from at any time
WORKERS = 2  # calls of `receive` at the general channel that all processes read
SENDERS = 3  # tasks that send, besides one thread
PAUSE = 0.45  # the mean of the seconds between two turns of a sender
LIFE = 20.0  # the mean of the seconds that a consumer lives
STAY = 4.0  # the mean of the seconds between two changes of a consumer's groups
VISITS = 0.1  # the share of a thread's turns in which it runs a consumer in its own loop


def padding(chance: random.Random) -> int:
    """Return the bytes to add to a message: mostly few, rarely very many."""
    # The exponent's square makes small ones frequent: the median is about a hundred bytes.
    exponent = chance.random() ** 2 * math.log(LARGEST / SMALLEST)
    return int(SMALLEST * math.exp(exponent)) - SMALLEST
