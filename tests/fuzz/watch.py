"""Watches what a layer must not do, whatever it reads: raise, hang, grow, flood the log."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from typing_extensions import Self

T = TypeVar("T")

# What should take milliseconds; a loaded machine may need some. Longer is a hang.
DEADLINE = 20.0
# What the whole process may grow by: the layer's own bound is `mailbox_bytes`.
MAX_GROWTH = 200_000_000
LOGGERS = ("channels_redis_queue", "channels_redis_pubsub", "channels_redis_shared", "asyncio")


class Watch(logging.Handler):
    """Keeps what a layer logs, and what asyncio does of background tasks that fail."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: Counter[tuple[str, str]] = Counter()
        self.errors: list[str] = []
        self._began = time.monotonic()
        self._memory = resident_bytes()

    def __enter__(self) -> Self:
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Count a line by its kind and what it is about; an error is a bug of the layer."""
        about = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
        # The second line of a kind counts the lines that were left out.
        kind = re.sub(r" \(%s more within.*", "", str(record.msg))
        self.lines[kind, about] += 1
        if record.exc_info or record.levelno >= logging.ERROR:
            self.errors.append(logging.Formatter().format(record))

    def check(self, outages: int = 0) -> None:
        """Raise if anything has gone wrong.

        Args:
            outages: How often the server was lost, which is logged each time.
        """
        assert not self.errors, f"an error was logged: {self.errors[0]}"
        minutes = 2 + (time.monotonic() - self._began) / 60
        for (kind, about), count in self.lines.items():
            most = minutes + outages if kind.startswith("Lost ") else minutes
            assert count <= most, f"{count} lines within {minutes - 1:.0f} min: {kind} of {about}"
        grown = resident_bytes() - self._memory
        assert grown <= MAX_GROWTH, f"the process has grown by {grown:,} bytes"


def resident_bytes() -> int:
    """Return the memory that this process has; 0 where the system doesn't say."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * 4096 if status.exists() else 0


async def done(awaitable: Awaitable[T], what: str) -> T:
    """Await what has to happen.

    Raises:
        AssertionError: It does not happen in time.
    """
    try:
        return await asyncio.wait_for(awaitable, DEADLINE)
    except asyncio.TimeoutError:
        raise AssertionError(f"{what} hangs") from None
