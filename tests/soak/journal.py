"""The events of one process, as JSON lines.

Only the standard library: a worker may run in an environment with another channel layer.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
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
        by: The name of the process, unique in the run.
        first_id: The number of its first message; the other processes' are far from it.
    """

    def __init__(self, path: Path, by: str, first_id: int = 0) -> None:
        self.path = path
        self.by = by
        self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND)
        self._keys = itertools.count()
        self._ids = itertools.count(first_id)

    def note(self, record: str, moment: str = "at", **details: Any) -> Callable[..., None]:
        """Begin a record now.

        Args:
            record: The list of `history.History` that it belongs to.
            moment: The attribute of the record that gets the time.
            details: Further attributes.

        Returns:
            A function that notes a later moment, and further details.
        """
        later = functools.partial(self._write, record, f"{self.by}:{next(self._keys)}")
        later(moment, by=self.by, **details)
        return later

    def _write(self, record: str, key: str, moment: str, **details: Any) -> None:
        now = round(time.monotonic(), 6)
        line = {"record": record, "key": key, "moment": moment, "time": now, **details}
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def new_id(self) -> int:
        """Return a number for a message."""
        return next(self._ids)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
