"""Growth between two times of calm."""

from __future__ import annotations

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


def limit(quantity: str, first: int) -> int:
    """Return up to where a quantity counts as flat that was once so much."""
    share, amount = LOOSE.get(quantity, (0.0, 0))
    return first + max(int(first * share), amount)


def grown(first: Reading, last: Reading) -> list[str]:
    """Return the quantities that are no longer flat."""
    return [name for name in (*EXACT, *LOOSE) if last[name] > limit(name, first[name])]
