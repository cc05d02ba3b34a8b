"""The validated options of a layer."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ._shared.history import scripts
from ._shared.ops.logs import FaultLog, escape_arguments
from ._shared.ops.statistics import Counters

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._shared.history.rules import HistoryRules
    from ._shared.history.store import HistoryStore
    from ._shared.messages.serializers import DecodedMessage, MessageDecoder
    from ._shared.transport.commands import Script
    from ._shared.transport.connector import Connector

logger = logging.getLogger(__package__)
# Used by all modules of the package.
escape_arguments(logger)


@dataclass(frozen=True, kw_only=True)
class PubSubSettings:
    """The validated options of a layer."""

    # One for each host.
    connectors: tuple[Connector, ...]
    decoder: MessageDecoder[DecodedMessage]
    # Returns the maximum number of unread messages of a channel; None: any number.
    capacity: Callable[[str], int | None]
    # Seconds that a message waits for `receive`, and a channel for a new consumer.
    expiry: int
    channel_expiry: int
    # Bytes of all unread messages of a process.
    mailbox_bytes: int
    # The type of the notice of lost messages; None: there is none.
    on_overflow: str | None
    # The types of the notices of an outage and of its end; None: there is none.
    on_disconnect: str | None
    on_reconnect: str | None
    # True if a message stays at the node that owns its topic's slot.
    sharded_pubsub: bool
    # Returns the group of a topic.
    group_of: Callable[[bytes], str]
    # The groups that keep a history, where it is, and the type of the notice of a gap in it.
    history: HistoryRules
    store: HistoryStore
    on_gap: str | None
    # Those of this process.
    counters: Counters = field(default_factory=Counters)
    faults: FaultLog = field(default_factory=partial(FaultLog, logger))

    @property
    def scripts(self) -> tuple[Script, ...]:
        """The scripts to load whenever a connection opens."""
        return scripts.ALL if self.history else ()
