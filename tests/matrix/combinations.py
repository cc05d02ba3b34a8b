"""Which versions are tested together."""

from __future__ import annotations

import itertools
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
# What pip is asked for, by the name in the table. The first of each is the lowest that works.
REDIS_PY = {"5.0": "redis==5.0.0", "6": "redis==6.*", "7": "redis==7.*", "8": "redis==8.*"}
CHANNELS = {"4.2": "channels==4.2.1", "newest": "channels>=4.3"}
DJANGO = {"4.2": "django==4.2.*", "5.2": "django==5.2.*", "newest": "django>=6"}
PARSERS = {"python": (), "hiredis": ("hiredis",)}
# The second is whatever redis-server the system has: Debian 13 has Redis 8.0.
SERVERS = ("redis-6.2", "redis-of-the-system", "valkey")

# The Pythons that a Django runs on; both ends.
DJANGO_PYTHONS = {"4.2": ("3.10", "3.12"), "5.2": ("3.10", "3.14"), "newest": ("3.12", "3.14")}


@dataclass(frozen=True)
class Combination:
    """Versions to test together, by their names above."""

    python: str
    redis_py: str
    parser: str
    channels: str
    django: str
    server: str

    @property
    def requirements(self) -> tuple[str, ...]:
        """What to install."""
        return (
            REDIS_PY[self.redis_py],
            CHANNELS[self.channels],
            DJANGO[self.django],
            *PARSERS[self.parser],
        )

    def __str__(self) -> str:
        parser = "with" if PARSERS[self.parser] else "without"
        return (
            f"Python {self.python}, redis-py {self.redis_py} {parser} hiredis, "
            f"Channels {self.channels}, Django {self.django}, {self.server}"
        )

    @property
    def is_possible(self) -> bool:
        """Whether the versions can be installed together."""
        lowest, highest = DJANGO_PYTHONS[self.django]
        return _number(lowest) <= _number(self.python) <= _number(highest)

    def pairs(self) -> set[tuple[str, str, str, str]]:
        """Return each two versions that meet here."""
        names = [field.name for field in fields(self)]
        versions = zip(names, astuple(self), strict=True)
        return {(*one, *other) for one, other in itertools.combinations(versions, 2)}


def combinations(pythons: Iterable[str], servers: Iterable[str]) -> list[Combination]:
    """Return few combinations in which each two versions meet that can be installed together."""
    axes = (pythons, REDIS_PY, PARSERS, CHANNELS, DJANGO, servers)
    every = itertools.starmap(Combination, itertools.product(*axes))
    possible = [combination for combination in every if combination.is_possible]
    missing = set().union(*(combination.pairs() for combination in possible))
    chosen = []
    while missing:
        # The first of the best: always the same, whoever asks.
        best = max(possible, key=lambda combination: len(combination.pairs() & missing))
        missing -= best.pairs()
        chosen.append(best)
    return sorted(chosen, key=lambda one: (_number(one.python), astuple(one)))


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
