"""Keep logs readable, whatever stands in Redis: names escaped, long ones cut, floods counted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

# Of names and reasons from Redis, a line shows as many characters.
MAX_SHOWN = 500


def shown(text: str | bytes, most: int = MAX_SHOWN) -> str:
    """Return a text from Redis for a person to read: on one line, and without control characters.

    Args:
        text: A name, or an error's text. Bytes are decoded, those that are no UTF-8 escaped.
        most: How many characters or bytes to show.
    """
    cut, rest = text[:most], len(text) - most
    if isinstance(cut, bytes):
        cut = cut.decode(errors="backslashreplace")
    if not cut.isprintable():
        # A new line could pass for another line of the log, an escape sequence rule a terminal.
        cut = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return f"{cut}… ({rest} more)" if rest > 0 else cut


def escape_arguments(logger: logging.Logger) -> None:
    """Have each line of a logger show its arguments as `shown` does."""
    logger.addFilter(_escape)


def _escape(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(map(_escaped, record.args))
    return True


def _escaped(argument: object) -> object:
    if isinstance(argument, int | float):
        return argument
    return shown(argument if isinstance(argument, bytes) else str(argument))


@dataclass
class _Fault:
    logged_at: float
    unlogged: int = 0


class FaultLog:
    """Logs the first fault of a kind and channel at once, and then at most one line a minute.

    Args:
        logger: Where to.
    """

    INTERVAL = 60.0
    # The faults that are remembered: those of channels that have gone must not pile up.
    MAX_FAULTS = 10_000

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._faults: dict[tuple[str, str], _Fault] = {}

    def warning(self, text: str, channel: str, reason: object) -> None:
        """Log a fault, or count it for the next line.

        Args:
            text: Says what happened, with `%s` for the channel and then for the reason.
            channel: Where it happened.
            reason: Why; the next line tells the latest reason.
        """
        now = time.monotonic()
        fault = self._faults.get((text, channel))
        if fault is None:
            if len(self._faults) >= self.MAX_FAULTS:
                self._faults.clear()
            self._faults[text, channel] = _Fault(now)
            self._logger.warning(text, channel, reason)
            return
        fault.unlogged += 1
        seconds = now - fault.logged_at
        if seconds >= self.INTERVAL:
            counted = f"{text} (%s more within %.0f s)"
            self._logger.warning(counted, channel, reason, fault.unlogged, seconds)
            fault.logged_at, fault.unlogged = now, 0


class OverflowLog:
    """Logs a channel's first lost message at once, and then at most one line a minute."""

    INTERVAL = 60.0
    # Bounds the entries of channels that have gone.
    MAX_CHANNELS = 10_000

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._losses: dict[str, _Fault] = {}
        # Messages dropped from all channels.
        self.total = 0

    def dropped(self, channel: str, count: int = 1) -> None:
        """Log that a channel lost its oldest messages, or count them for the next line."""
        self.total += count
        now = time.monotonic()
        loss = self._losses.get(channel)
        if loss is None:
            if len(self._losses) >= self.MAX_CHANNELS:
                self._losses.clear()
            self._losses[channel] = _Fault(now, count - 1)
            self._logger.warning(
                "%s is full and loses its oldest messages: its consumer is too slow, or its "
                "capacity too small",
                channel,
            )
            return
        loss.unlogged += count
        seconds = now - loss.logged_at
        if seconds >= self.INTERVAL:
            self._logger.warning(
                "%s has lost %s more of its messages within %.0f s", channel, loss.unlogged, seconds
            )
            loss.logged_at, loss.unlogged = now, 0

    def forget(self, channel: str) -> None:
        """Forget a channel that has gone."""
        self._losses.pop(channel, None)
