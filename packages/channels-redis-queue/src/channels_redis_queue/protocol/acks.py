"""Decides which of the messages that a take returned are new, and what to acknowledge."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

# What has become of a claim that was handed out.
_OUT, _ACKNOWLEDGED, _GIVEN_BACK = range(3)


class Claim(NamedTuple):
    """A message that a reader has taken, with its score as the server wrote it."""

    message: bytes
    score: bytes


class AckTracker:
    """What one reader has handed out, also across its reconnects.

    A take returns every claim not acknowledged yet, and a failover can bring back what was: so
    what was handed out is remembered until the server has heard what became of it, and what was
    acknowledged for a while longer.

    Args:
        remembered: How many acknowledged messages to remember.
    """

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        # By hash, not message: a thousand of a megabyte each would be a gigabyte.
        self._known: dict[int, int] = {}
        self._past: dict[int, None] = {}
        # Appended by whichever thread a message was handed over in.
        self._due: deque[tuple[int, bytes]] = deque()
        self._returns: deque[tuple[int, bytes]] = deque()
        # What went back: it is new if a take returns it that was sent after the release's reply.
        self._back: deque[int] = deque()
        # Whether a take has returned what was on its way back, or went back while it was under way:
        # it was carried out before the release or after it.
        self.doubtful = False

    def admit(self, claim: Claim) -> bool:
        """Tell whether the message is to be handed out now, and remember that it was."""
        key = hash(claim)
        state = self._known.get(key)
        if state is None:
            if key not in self._past:
                self._known[key] = _OUT
                return True
            # The acknowledgement did not survive a failover.
            self._due.append((key, claim.score))
        elif state == _GIVEN_BACK:
            self.doubtful = True
        return False

    def acknowledge(self, claim: Claim) -> None:
        """Note that the message has been handed over for good."""
        key = hash(claim)
        self._known[key] = _ACKNOWLEDGED
        self._due.append((key, claim.score))

    def due(self) -> list[bytes]:
        """Return the scores to acknowledge with the next take."""
        # A list of its own first: other threads append meanwhile.
        return [score for _, score in list(self._due)]

    @property
    def went_back(self) -> int:
        """The number of claims known to have gone back when the next take is sent."""
        return len(self._back)

    def settled(self, acknowledged: int, went_back: int) -> None:
        """Forget what the server has heard of: a take was answered.

        Args:
            acknowledged: How many of what `due` returned it has acknowledged.
            went_back: What `went_back` was when it was sent.
        """
        for _ in range(acknowledged):
            key, _score = self._due.popleft()
            self._known.pop(key, None)
            self._past[key] = None
        while len(self._past) > self._remembered:
            del self._past[next(iter(self._past))]
        for _ in range(went_back):
            self._known.pop(self._back.popleft(), None)
        self.doubtful = False

    def requeue(self, claim: Claim) -> None:
        """Note that the message found no taker here and goes to another reader."""
        key = hash(claim)
        self._known[key] = _GIVEN_BACK
        self._returns.append((key, claim.score))

    def returns(self) -> list[bytes]:
        """Return the scores to release with the next release."""
        return [score for _, score in list(self._returns)]

    @property
    def has_returns(self) -> bool:
        """True if there is something to give back."""
        return bool(self._returns)

    def returned(self, count: int) -> None:
        """Note that the first so many of what `returns` returned have gone back."""
        for _ in range(count):
            key, _score = self._returns.popleft()
            self._back.append(key)
