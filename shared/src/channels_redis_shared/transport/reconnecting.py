"""Reconnect: how long to wait between attempts, and one log record for each outage."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from redis.exceptions import AskError

from ..clock import monotonic

if TYPE_CHECKING:
    import logging


class Backoff:
    """Waiting times between attempts: jittered, doubling, capped."""

    FIRST = 0.05  # seconds
    # Messages must flow within two seconds of a server's return.
    LONGEST = 1.0  # seconds
    # Seconds without a failure after which a search begins at once.
    QUIET = 3.0

    def __init__(self) -> None:
        self._next = self.FIRST

    def reset(self) -> None:
        """Start again with the shortest wait."""
        self._next = self.FIRST

    def next(self) -> float:
        """Return the seconds to wait before the next attempt."""
        longest, self._next = self._next, min(self._next * 2, self.LONGEST)
        # Jitter keeps the processes of a site from reconnecting at once.
        return longest * random.uniform(0.5, 1.0)  # noqa: S311


class OutageLog:
    """Log the outage of one host once: a WARNING when it starts, an INFO when it ends.

    Each further node of a Cluster that is lost in the same outage has a separate WARNING.
    """

    def __init__(self, logger: logging.Logger, host: str) -> None:
        self._logger = logger
        self._host = host
        # Those that have lost it, each with its node of a Cluster.
        self._away: dict[object, str | None] = {}
        self._since = 0.0
        self._past = 0.0
        # Connections that were lost and are back.
        self.reconnects = 0

    @property
    def seconds(self) -> float:
        """The total length of all outages, including the current one."""
        return self._past + (monotonic() - self._since if self._away else 0.0)

    def lost(self, who: object, error: BaseException, node: str | None = None) -> None:
        """Record that `who` has lost the host; only the first is logged.

        Args:
            who: The object that used the host.
            error: The reason.
            node: The node that is lost, if the host has several.
        """
        if not self._away:
            self._since = monotonic()
        if not self._away or (node is not None and node not in self._away.values()):
            reason = _in_words(error)
            lost = self._host if node is None else f"node {node} of the {self._host}"
            self._logger.warning("Lost %s: %s; trying again until it is back", lost, reason)
        self._away[who] = node

    def found(self, who: object) -> None:
        """Record that `who` has the host again; only the last of an outage is logged."""
        if who in self._away:
            self.reconnects += 1
            self.forget(who)
            if not self._away:
                self._logger.info("%s is back", self._host)

    def forget(self, who: object) -> None:
        """Record that `who` no longer needs the host."""
        if who in self._away:
            until_now = self.seconds
            del self._away[who]
            if not self._away:
                self._past = until_now


def _in_words(error: BaseException) -> str:
    """Return an error's text; that of a redirect is only a number and an address."""
    if isinstance(error, AskError):
        node = f"{error.host}:{error.port}"
        return f"slot {error.slot_id} has moved, or is about to move, to {node}"
    return str(error)
