"""Growth between two times of calm."""

from __future__ import annotations

from dataclasses import dataclass

Reading = dict[str, int]

MIB = 2**20
# What may not change at all: a thing too many at each fault is a leak, however small.
EXACT = (
    "tasks",
    "threads",
    "connections",
    "descriptors",
    "loops",
    "mailboxes",
    "readers",
)
# May grow by a share, or by an amount if that is more. The first time is early, when caches are not
# full yet, and an allocator does not give back every page. Objects do not depend on pages: some for
# each of the hundreds of consumers of five minutes are more than this. But an event loop closed
# without cleanup is kept until the next one, with some hundred objects.
LOOSE = {
    "rss": (0.1, 8 * MIB),
    "objects": (0.02, 1000),
}


@dataclass(frozen=True)
class Verdict:
    """The change of one quantity between two times of calm."""

    quantity: str
    first: int
    last: int
    limit: int

    @property
    def flat(self) -> bool:
        """True if it is unchanged, smaller, or below the limit."""
        return self.last <= self.limit


def limit(quantity: str, first: int) -> int:
    """Return up to where a quantity counts as flat that was once so much."""
    share, amount = LOOSE.get(quantity, (0.0, 0))
    return first + max(int(first * share), amount)


def compare(first: Reading, last: Reading) -> list[Verdict]:
    """Return a verdict on each quantity."""
    return [
        Verdict(quantity, first[quantity], last[quantity], limit(quantity, first[quantity]))
        for quantity in (*EXACT, *LOOSE)
    ]
