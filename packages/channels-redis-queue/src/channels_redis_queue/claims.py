"""Decides which of the messages that a take returned are new, and what to acknowledge."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Claim(NamedTuple):
    """A message that a reader has taken, with its score as the server wrote it."""

    message: bytes
    score: bytes


class Ledger:
    """What one reader has handed out, also across its reconnects.

    A take returns every claim not acknowledged yet, and a failover can bring back what was: so
    what was handed out is remembered for a while.

    Args:
        remembered: How many handed out messages to remember.
    """

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        # By hash, not message: a thousand of a megabyte each would be a gigabyte.
        self._handed_out: dict[int, bool] = {}
        # Appended by whichever thread a message was handed over in.
        self._due: deque[bytes] = deque()
        self._returns: deque[Claim] = deque()

    def admit(self, claim: Claim) -> bool:
        """Tell whether the message is to be handed out now, and remember that it was."""
        key = hash(claim)
        acknowledged = self._handed_out.get(key)
        if acknowledged is None:
            self._handed_out[key] = False
            if len(self._handed_out) > self._remembered:
                del self._handed_out[next(iter(self._handed_out))]
            return True
        if acknowledged:
            # It was, and has come back: the acknowledgement did not survive a failover.
            self._due.append(claim.score)
        return False

    def acknowledge(self, claim: Claim) -> None:
        """Note that the message has been handed over for good."""
        key = hash(claim)
        if key in self._handed_out:
            self._handed_out[key] = True
        self._due.append(claim.score)

    def due(self) -> list[bytes]:
        """Return the scores to acknowledge with the next take."""
        return list(self._due)

    def settled(self, count: int) -> None:
        """Forget the first so many of what `due` returned: the server has answered."""
        for _ in range(count):
            self._due.popleft()

    def give_back(self, claim: Claim) -> None:
        """Note that the message found no taker here, and shall go to another reader."""
        self._returns.append(claim)

    def returns(self) -> list[bytes]:
        """Return the scores to release now; what comes back after that is new again."""
        scores = []
        while self._returns:
            claim = self._returns.popleft()
            self._handed_out.pop(hash(claim), None)
            scores.append(claim.score)
        return scores
