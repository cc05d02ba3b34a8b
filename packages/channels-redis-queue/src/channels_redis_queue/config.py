"""The options of a layer, checked, and what its parts derive from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import scripts
from ._shared.history.settings import HistorySettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._shared.messages.serializers import MessageDecoder
    from ._shared.transport.commands import Script
    from .keys import Keys

# Seconds without a heartbeat after which a process counts as dead.
HEARTBEAT_TIMEOUT = 60


@dataclass(frozen=True, kw_only=True)
class QueueSettings(HistorySettings):
    """The options of a layer, with what is derived from them."""

    keys: Keys
    # Seconds that a membership lives.
    group_expiry: int
    # Returns a message as Redis gets it.
    encode: Callable[[dict[str, Any]], bytes]
    # Returns what decodes messages into objects of a class.
    make_decoder: Callable[[type[Any]], MessageDecoder[Any]]
    # Returns the number of messages that may wait in the message key of a channel; and the largest
    # number for any process-specific channel.
    key_capacity: Callable[[str], int]
    largest_key_capacity: int
    # Returns the index of the shard that a message for an address is sent to.
    shard_to: Callable[[str], int]
    # True if messages for general channels name these too, where no one can alter it.
    encrypts: bool

    @property
    def scripts(self) -> Sequence[Script]:
        """The scripts to load whenever a connection opens."""
        return [*scripts.ALL, *super().scripts]
