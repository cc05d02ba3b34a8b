"""The events of one process, as JSON lines.

Only the standard library: a worker may run in an environment with another channel layer.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# Kinds of sends.
DIRECT, GENERAL, GROUP, RECOVERABLE = "direct", "general", "group", "recoverable"
# Outcomes of a call: done, certainly not done, or done or not.
OK, FAILED, UNKNOWN = "ok", "failed", "unknown"
# The types of the layer's own messages.
LOST, BACK, OVERFLOW, GAP = "soak.lost", "soak.back", "soak.overflow", "soak.gap"


class Journal:
    """Writes events with their times. Threads may share it.

    Each event is written at once and in one piece, so that a process may be killed at any time.

    Args:
        path: The file, which must not exist.
        by: The name of the process, which no other one of the run has.
        first_id: The number of its first message; the other processes' are far from it.
    """

    def __init__(self, path: Path, by: str, first_id: int = 0) -> None:
        self.path = path
        self.by = by
        self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND)
        self._ids = itertools.count(first_id)

    def note(self, event: str, **details: Any) -> None:
        """Write one event, which happens now."""
        line = {"at": round(time.monotonic(), 6), "by": self.by, "event": event, **details}
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def new_id(self) -> int:
        """Return a number for a message."""
        return next(self._ids)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
