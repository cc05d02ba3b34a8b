"""Tracks the messages of one reader until they are acknowledged or requeued. Does no I/O."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

# The state of a claim.
_DELIVERED, _ACKNOWLEDGED, _REQUEUED = range(3)


class Claim(NamedTuple):
    """A message that a reader has taken, with its score as the server wrote it."""

    message: bytes
    score: bytes


class AckTracker:
    """The claims that one reader has delivered, also across its reconnects.

    A take returns every claim that is not acknowledged yet, and a failover can bring back those
    that were. So each claim is remembered until the server has confirmed its end, and
    acknowledged ones for a while longer.

    Args:
        remembered: The number of acknowledged claims to remember.
    """

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        # By hash, not message: a thousand of a megabyte each would be a gigabyte.
        self._states: dict[int, int] = {}
        self._acknowledged: dict[int, None] = {}
        # Appended to in whichever thread a message is received.
        self._pending_acks: deque[tuple[int, bytes]] = deque()
        self._pending_requeues: deque[tuple[int, bytes]] = deque()
        # A take that is sent after the reply to the release may return these as new claims.
        self._confirmed_requeues: deque[int] = deque()
        # True if a take has returned a claim whose requeue was not confirmed when it was sent: the
        # server may have executed it before the release or after it.
        self.ambiguous = False

    def admit(self, claim: Claim) -> bool:
        """Return whether to deliver the claim now, and remember it."""
        key = hash(claim)
        state = self._states.get(key)
        if state is None:
            if key not in self._acknowledged:
                self._states[key] = _DELIVERED
                return True
            # The acknowledgement did not survive a failover.
            self._pending_acks.append((key, claim.score))
        elif state == _REQUEUED:
            self.ambiguous = True
        return False

    def acknowledge(self, claim: Claim) -> None:
        """Acknowledge a claim with the next take."""
        key = hash(claim)
        self._states[key] = _ACKNOWLEDGED
        self._pending_acks.append((key, claim.score))

    def requeue(self, claim: Claim) -> None:
        """Put a claim back into the queue with the next release, for another reader."""
        key = hash(claim)
        self._states[key] = _REQUEUED
        self._pending_requeues.append((key, claim.score))

    def pending_acks(self) -> list[bytes]:
        """Return the scores to acknowledge with the next take."""
        # Copied first: other threads append meanwhile.
        return [score for _, score in list(self._pending_acks)]

    def pending_requeues(self) -> list[bytes]:
        """Return the scores to put back with the next release."""
        return [score for _, score in list(self._pending_requeues)]

    @property
    def has_pending_requeues(self) -> bool:
        """True if there are claims to put back."""
        return bool(self._pending_requeues)

    @property
    def confirmed_requeues(self) -> int:
        """The number of claims that a take sent now may return as new ones."""
        return len(self._confirmed_requeues)

    def confirm_take(self, acknowledged: int, requeued: int) -> None:
        """Forget the claims that the server has settled: a take was answered.

        Args:
            acknowledged: The number of acknowledgements that the take carried.
            requeued: The `confirmed_requeues` when it was sent.
        """
        for _ in range(acknowledged):
            key, _score = self._pending_acks.popleft()
            self._states.pop(key, None)
            self._acknowledged[key] = None
        while len(self._acknowledged) > self._remembered:
            del self._acknowledged[next(iter(self._acknowledged))]
        for _ in range(requeued):
            self._states.pop(self._confirmed_requeues.popleft(), None)
        self.ambiguous = False

    def confirm_requeues(self, count: int) -> None:
        """Forget the first `count` pending requeues: the server has put them back."""
        for _ in range(count):
            key, _score = self._pending_requeues.popleft()
            self._confirmed_requeues.append(key)
