"""The messages that one worker has sent and received, until they are reported."""

from __future__ import annotations

import itertools
import time
from typing import Any

# The recipients of a message: all residents, a reader of the general channel, one consumer that
# waits for it, or any that happen to be there.
RESIDENTS, JOBS, ONE, ANY = "residents", "jobs", "one", "any"


class Diary:
    """Numbers messages and notes what becomes of them. Threads may share it.

    Nothing is kept once it is reported: a worker that remembered its messages would grow.

    Args:
        author: Begins the id of each message; no other worker has it.
    """

    def __init__(self, author: str) -> None:
        self.author = author
        self._numbers = itertools.count()
        self._sent: list[tuple[str, float, str]] = []
        self._received: list[tuple[str, str]] = []
        # Calls that raised an error of the server's absence.
        self.refused = 0

    def message(self) -> dict[str, Any]:
        """Return a message that can be told from any other."""
        return {"type": "soak.message", "id": f"{self.author}-{next(self._numbers)}"}

    def sent(self, message: dict[str, Any], at: float, audience: str) -> None:
        """Note that a message was sent, and the `time.monotonic()` before the call."""
        self._sent.append((message["id"], at, audience))

    def received(self, message: dict[str, Any], reader: str) -> None:
        """Note that a reader got a message, which it must never get again."""
        self._received.append((message["id"], reader))

    def take(self) -> dict[str, Any]:
        """Return, once, what is new."""
        sent, self._sent = self._sent, []
        received, self._received = self._received, []
        return {"sent": sent, "received": received, "refused": self.refused}


def now() -> float:
    """Return the seconds of the clock that all processes of the machine share."""
    return time.monotonic()
