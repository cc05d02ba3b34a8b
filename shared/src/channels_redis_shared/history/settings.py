"""The options that both layers have."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ..ops.logs import FaultLog, logger
from ..ops.statistics import Counters
from . import scripts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..messages.serializers import DecodedMessage, MessageDecoder
    from ..transport.commands import Script
    from ..transport.connector import Connector
    from .rules import HistoryRules
    from .store import HistoryStore


@dataclass(frozen=True, kw_only=True)
class HistorySettings:
    """The options that both layers have, on which also the histories of their groups depend."""

    # One for each host.
    connectors: Sequence[Connector]
    # Seconds that a message waits for `receive`.
    expiry: int
    # Seconds that a channel without a consumer is kept for a new one.
    channel_expiry: int
    # The maximum size of all unread messages of a process.
    mailbox_bytes: int
    # The type of the notice of lost messages; None: there is none.
    on_overflow: str | None
    # The groups that keep a history, if any; where it is, and what decodes the messages in it.
    history: HistoryRules | None
    store: HistoryStore
    decoder: MessageDecoder[DecodedMessage]
    # The type of the notice of a gap in a history; None: there is none.
    on_gap: str | None
    # The process's.
    faults: FaultLog = field(default_factory=partial(FaultLog, logger))
    counters: Counters = field(default_factory=Counters)

    @property
    def scripts(self) -> Sequence[Script]:
        """The scripts to load whenever a connection opens."""
        return () if self.history is None else scripts.ALL

    def report_overflow(self, channel: str, count: int) -> None:
        """Count messages that a channel lost, and warn of them."""
        self.counters.mailbox_full += count
        self.faults.warning(
            "%s is full and loses its oldest messages: its consumer is too slow, or its capacity "
            "too small",
            channel,
            count=count,
        )

    def report_unreadable(self, name: str, error: Exception) -> None:
        """Count a message that can't be read, and warn of it."""
        self.counters.undecodable += 1
        self.faults.warning("Dropped a message of %s that can't be read: %s", name, error)
