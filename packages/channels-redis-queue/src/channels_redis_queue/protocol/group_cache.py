"""Know where the messages of groups go, so that they can be sent optimistically. Without I/O."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import msgpack

from .._shared.clock import monotonic
from .._shared.transport.pipeline import MAX_COALESCED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..keys import Keys

# Bytes of a group's names and of all that is sent, up to which a message is sent optimistically: if
# the group has changed, both were sent uselessly.
MAX_OPTIMISTIC_BYTES = 262_144
# Destinations that are remembered, about 400 bytes each. Beyond it all groups are read again.
MAX_DESTINATIONS = 50_000
# Seconds between two checks for dead processes in a group.
LIVENESS_CHECK_INTERVAL = 30


@dataclass(frozen=True, slots=True)
class Destination:
    """A message key, and the names there that a message is for."""

    address: str
    key: str
    bell: str
    # The messages that may wait in the key; 0 for a leave, which is always added.
    capacity: int
    names: Sequence[str]

    @classmethod
    def of(cls, address: str, names: Sequence[str], keys: Keys, capacity: int) -> Destination:
        """Return the destination at an address."""
        queue = keys.messages(address)
        return cls(address, queue.key, queue.bell, capacity, names)


# A destination with the bytes that it gets. Destinations that get the same share one object.
Outgoing: TypeAlias = "tuple[Destination, bytes]"


@dataclass(eq=False, slots=True)
class GroupSnapshot:
    """The names that a group had, and where its messages go."""

    group: str
    # As GROUP_MEMBERS returns them.
    names: bytes
    destinations: Sequence[Destination]
    # The SHA-1 of the names, by which the server compares them.
    digest: str
    # The `monotonic()` of the next check for dead processes.
    next_liveness_check: float = field(
        default_factory=lambda: monotonic() + LIVENESS_CHECK_INTERVAL
    )

    def may_send_optimistically(self, size: int) -> bool:
        """Return whether a message may be sent without reading the names first.

        Args:
            size: The bytes of the bodies that are sent.
        """
        is_small = len(self.names) + size <= MAX_OPTIMISTIC_BYTES
        return is_small and len(self.destinations) <= MAX_COALESCED


class GroupCache:
    """The groups that one layer has sent to in this process. Threads may share it.

    Args:
        keys: Names the message keys.
        capacity: Returns the number of messages that may wait where those for a channel do.
    """

    def __init__(self, keys: Keys, capacity: Callable[[str], int]) -> None:
        self._keys = keys
        self._capacity = capacity
        self._snapshots: dict[str, GroupSnapshot] = {}
        # The destinations of all of them.
        self._size = 0
        # Returns the latest snapshot of a group, or None.
        self.get = self._snapshots.get

    def update(self, group: str, names: bytes) -> GroupSnapshot:
        """Cache the names that a group has now, and return them as a snapshot.

        Args:
            group: The group.
            names: Its names, as GROUP_MEMBERS returns them.
        """
        known = self._snapshots.get(group)
        if known is not None and known.names == names:
            return known
        digest = hashlib.sha1(names).hexdigest()  # noqa: S324 - Lua has this one
        snapshot = GroupSnapshot(group, names, self._destinations(names), digest)
        # Another thread may have replaced or removed it.
        known = self._snapshots.pop(group, None)
        if known is not None:
            snapshot.next_liveness_check = known.next_liveness_check
            self._size -= len(known.destinations)
        if snapshot.destinations and len(names) <= MAX_OPTIMISTIC_BYTES:
            self._size += len(snapshot.destinations)
            if self._size > MAX_DESTINATIONS:
                self._snapshots.clear()
                self._size = len(snapshot.destinations)
            self._snapshots[group] = snapshot
        return snapshot

    def _destinations(self, names: bytes) -> list[Destination]:
        """Return the message keys that a message for these names goes to, each once."""
        by_address: dict[str, list[str]] = {}
        for name in unpack_names(names):
            # keys.non_local, without its call: a group may have ten thousand members.
            by_address.setdefault(name[: name.find("!") + 1] or name, []).append(name)
        return [
            Destination.of(address, named, self._keys, self._capacity(named[0]))
            for address, named in by_address.items()
        ]


def unpack_names(packed: bytes) -> list[str]:
    """Return the names of a group, as GROUP_MEMBERS packs them."""
    names: list[str] = msgpack.unpackb(packed, unicode_errors="replace")
    return names
