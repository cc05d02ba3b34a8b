"""What the parts of a layer need to know of its options."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ._shared.ops.logs import FaultLog, escape_arguments
from ._shared.ops.statistics import Counters

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._shared.messages.serializers import DecodedMessage, MessageDecoder
    from ._shared.transport.connector import Connector

logger = logging.getLogger(__package__)
# All modules of the package log to this one.
escape_arguments(logger)


@dataclass(frozen=True, kw_only=True)
class PubSubSettings:
    """The options of a layer, worked out."""

    # One for each host.
    connectors: tuple[Connector, ...]
    decoder: MessageDecoder[DecodedMessage]
    # Returns how many unread messages a channel may hold; None: any number.
    capacity: Callable[[str], int | None]
    # Seconds that a message waits to be received, and a channel for a new consumer.
    expiry: int
    channel_expiry: int
    # Bytes that all unread messages of a process may have.
    mailbox_bytes: int
    # The type of the message that tells of lost ones; None: nothing is told.
    on_overflow: str | None
    # The types of the messages that tell of an outage and of its end; None: nobody is told.
    on_disconnect: str | None
    on_reconnect: str | None
    # Whether the node that owns a topic's slot keeps its messages from the others.
    sharded_pubsub: bool
    # What happens in this process.
    counters: Counters = field(default_factory=Counters)
    faults: FaultLog = field(default_factory=lambda: FaultLog(logger))
