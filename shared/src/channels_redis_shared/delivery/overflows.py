"""Logs which channels lose messages because their consumers are too slow."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging


@dataclass
class _Loss:
    logged_at: float
    unlogged: int = 0


class OverflowLog:
    """Logs a channel's first lost message at once, and then at most one line a minute."""

    INTERVAL = 60.0
    # How many channels it remembers: those that have gone must not pile up.
    MOST_CHANNELS = 10_000

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._losses: dict[str, _Loss] = {}
        # Messages dropped, of all channels.
        self.total = 0

    def dropped(self, channel: str, count: int = 1) -> None:
        """Note that the oldest messages of a channel were dropped."""
        self.total += count
        now = time.monotonic()
        loss = self._losses.get(channel)
        if loss is None:
            if len(self._losses) >= self.MOST_CHANNELS:
                self._losses.clear()
            self._losses[channel] = _Loss(now, count - 1)
            self._logger.warning(
                "%s is full and loses its oldest messages: its consumer is too slow, or its "
                "capacity too small",
                channel,
            )
            return
        loss.unlogged += count
        if now - loss.logged_at >= self.INTERVAL:
            self._logger.warning(
                "%s has lost %s more of its messages within %.0f s",
                channel,
                loss.unlogged,
                now - loss.logged_at,
            )
            loss.logged_at, loss.unlogged = now, 0

    def forget(self, channel: str) -> None:
        """Note that the channel has gone."""
        self._losses.pop(channel, None)
