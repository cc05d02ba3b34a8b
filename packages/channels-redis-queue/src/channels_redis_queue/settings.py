"""What the parts of a layer need to know of its options."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ._shared.logs import FaultLog, escape_arguments
from ._shared.statistics import Counters

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._shared.connections import Connector
    from ._shared.letters import Reader
    from .keys import Keys
    from .letters import Letter

# The names of the options of a layer.
OPTIONS = (
    "hosts",
    "prefix",
    "expiry",
    "group_expiry",
    "capacity",
    "channel_capacity",
    "symmetric_encryption_keys",
    "random_prefix_length",
    "serializer_format",
    "groups",
)

logger = logging.getLogger(__package__)
# All modules of the package log to this one.
escape_arguments(logger)


@dataclass(frozen=True)
class Settings:
    """The options of a layer, worked out."""

    # One for each host.
    connectors: tuple[Connector, ...]
    keys: Keys
    # Seconds that a message and a membership live.
    expiry: int
    group_expiry: int
    serialize: Callable[[dict[str, Any]], bytes]
    reader: Reader[Letter]
    # Returns the capacity of a channel; and the largest of any.
    capacity: Callable[[str], int]
    largest_capacity: int
    # Returns the index of the shard that a message for an address is sent to.
    shard_to: Callable[[str], int]
    # What happens in this process.
    counters: Counters = field(default_factory=Counters)
    faults: FaultLog = field(default_factory=lambda: FaultLog(logger))
