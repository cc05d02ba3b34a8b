"""Log lines about data from Redis: names escaped and cut, repeated warnings counted."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Hashable

MAX_SHOWN = 500  # characters or bytes of a name or reason from Redis


def shown(text: str | bytes) -> str:
    """Return a text from Redis on one line, without control characters.

    Args:
        text: A name or an error's text. Bytes are decoded, with invalid UTF-8 escaped.
    """
    cut, rest = text[:MAX_SHOWN], len(text) - MAX_SHOWN
    if isinstance(cut, bytes):
        cut = cut.decode(errors="backslashreplace")
    if not cut.isprintable():
        # A newline could forge a line of the log, an escape sequence could control a terminal.
        cut = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return f"{cut}… ({rest} more)" if rest > 0 else cut


def _escape(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(map(_escaped, record.args))
    return True


def _escaped(argument: object) -> object:
    if isinstance(argument, int | float):
        return argument
    return shown(argument if isinstance(argument, bytes) else str(argument))


# All modules of the package log to this one.
logger = logging.getLogger(__name__.partition(".")[0])
logger.addFilter(_escape)


@dataclass
class _Repeats:
    logged_at: float
    unlogged: int


class FaultLog:
    """Log faults of channels: each kind at once, and then at most one line a minute."""

    INTERVAL = 60.0  # seconds
    # Bounds the entries of channels that have gone.
    MAX_KEYS = 10_000

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._repeats: dict[Hashable, _Repeats] = {}

    def warning(self, text: str, channel: str, *reason: object, count: int = 1) -> None:
        """Log faults, or count them for the next line.

        Args:
            text: The line, with `%s` for the channel and then for the reason, if there is one.
            channel: The channel.
            reason: The reason; the next line shows the latest one.
            count: The number of faults.
        """
        now = monotonic()
        repeats = self._repeats.get((text, channel))
        if repeats is None:
            if len(self._repeats) >= self.MAX_KEYS:
                self._repeats.clear()
            # The first line gives no number: the next one counts the rest.
            self._repeats[text, channel] = _Repeats(now, count - 1)
            self._logger.warning(text, channel, *reason)
            return
        repeats.unlogged += count
        seconds = now - repeats.logged_at
        if seconds >= self.INTERVAL:
            counted = f"{text} (%s more within %.0f s)"
            self._logger.warning(counted, channel, *reason, repeats.unlogged, seconds)
            repeats.logged_at, repeats.unlogged = now, 0
