"""The rule by which no message of a group is lost silently, twice or out of order."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from .positions import is_after

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .positions import HistoryEntry, Replay


class Verdict(Enum):
    """The treatment of a message that arrives."""

    # Deliver it.
    NEXT = "next"
    # Drop it: it was delivered, from the history.
    REPEATED = "repeated"
    # Read the history first: others may be missing before it.
    GAP = "gap"


class Cursor:
    """The place of one reader in the history of a group.

    Each message names its predecessor. If that is the message at the cursor, nothing is missing in
    between. Expired, flushed, evicted and lost histories all show in this one comparison.

    Attributes:
        position: The position of the latest message; empty if any message may come next.
    """

    def __init__(self) -> None:
        self.position = ""
        # What the latest replay has brought, until a message follows it.
        self._replayed: frozenset[str] = frozenset()

    def judge(self, entry: HistoryEntry) -> Verdict:
        """Return what to do with a message that arrives, and move on to it if it is the next."""
        if not self.position or entry.previous == self.position:
            self.position = entry.position
            if self._replayed:
                self._replayed = frozenset()
            return Verdict.NEXT
        if entry.position == self.position or entry.position in self._replayed:
            return Verdict.REPEATED
        return Verdict.GAP

    def catch_up(
        self, replay: Replay, held: HistoryEntry | None = None
    ) -> tuple[Sequence[HistoryEntry], bool]:
        """Move on to the end of a history that was read.

        Args:
            replay: What was read, from the position of the cursor or from an earlier one.
            held: The message that has shown the gap. What the history does not have of it, it has
                forgotten, or is older than the cursor.

        Returns:
            The messages to deliver, and whether they are all: if not, the reader has to be told
            before.
        """
        missed = replay.after(self.position)
        recovered = missed is not None
        if missed is None:
            # Only newer ones have certainly not been delivered before.
            missed = [entry for entry in replay.entries if is_after(entry.position, self.position)]
        self._replayed = frozenset(entry.position for entry in missed)
        if held is not None:
            self._replayed |= {held.position}
        self.position = replay.position
        return missed, recovered
