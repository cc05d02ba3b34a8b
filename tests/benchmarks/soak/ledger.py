"""Find repeated and lost messages in the notes of all workers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Nothing goes wrong, only connections are killed, or processes and the server go as well.
CALM, KILLS, FAULTS = "calm", "kills", "faults"
# Seconds before a fault in which what is sent may be on its way when it comes.
ON_THE_WAY = 3.0


@dataclass(frozen=True)
class Loss:
    """A message that did not reach all it was for."""

    message: str
    audience: str
    missing: int
    when: str


class Ledger:
    """The messages of one layer.

    Args:
        expected: How many readers get a message, by its audience.
    """

    def __init__(self, expected: Mapping[str, int]) -> None:
        self._expected = expected
        self._sent: dict[str, tuple[float, str]] = {}
        self._readers: dict[str, Counter[str]] = {}
        self._troubles: list[tuple[str, float, float]] = []

    def note(
        self, sent: Iterable[tuple[str, float, str]], received: Iterable[tuple[str, str]]
    ) -> None:
        """Add what a worker has reported."""
        self._sent.update((message, (at, audience)) for message, at, audience in sent)
        for message, reader in received:
            self._readers.setdefault(message, Counter())[reader] += 1

    def trouble(self, name: str, begin: float, end: float) -> None:
        """Note that something went wrong; what was sent just before may be lost, too."""
        self._troubles.append((name, begin - ON_THE_WAY, end))

    @property
    def received(self) -> int:
        """The number of times that a reader has received a message."""
        return sum(sum(readers.values()) for readers in self._readers.values())

    def twice(self) -> list[tuple[str, str]]:
        """Return what came again to who had it already: the message and its reader."""
        return [
            (message, reader)
            for message, readers in self._readers.items()
            for reader, times in readers.items()
            if times > 1
        ]

    def lost(self) -> list[Loss]:
        """Return the messages that did not reach all they were for."""
        losses = []
        for message, (at, audience) in self._sent.items():
            missing = self._expected.get(audience, 0) - len(self._readers.get(message, ()))
            if missing > 0:
                losses.append(Loss(message, audience, missing, self._when(at)))
        return losses

    def figures(self) -> dict[str, int]:
        """Return the numbers of all of it; of what was lost, the copies."""
        lost: Counter[str] = Counter()
        for loss in self.lost():
            lost[loss.when] += loss.missing
        return {
            "sent": len(self._sent),
            "received": self.received,
            "twice": len(self.twice()),
            **{f"lost_in_{when}": lost[when] for when in (CALM, KILLS, FAULTS)},
        }

    def _when(self, at: float) -> str:
        """Return what was under way: the worst of it, if it is more than one thing."""
        under_way = {name for name, begin, end in self._troubles if begin <= at <= end}
        return next((name for name in (FAULTS, KILLS) if name in under_way), CALM)
