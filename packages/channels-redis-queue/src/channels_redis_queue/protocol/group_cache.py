"""Cache the members of groups, so that messages can be sent optimistically. Without I/O."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._shared.clock import monotonic
from .._shared.transport.pipeline import MAX_COALESCED

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..keys import Keys

# Bytes of a group's names, and of those names and all that is sent, up to which a message is sent
# optimistically: if the group has changed, both were sent uselessly. The second holds for a
# group that was found unchanged.
MAX_UNCONFIRMED_BYTES = 4096
MAX_CONFIRMED_BYTES = 262_144
# About how many bytes the cache may have; and what a group and each of its destinations have
# besides the names.
MAX_CACHE_BYTES = 16_000_000
OVERHEAD_BYTES = 600
# Seconds between two checks for dead processes in a group.
LIVENESS_CHECK_INTERVAL = 30


@dataclass(frozen=True)
class Destination:
    """A message key that a group message goes to, and the names there that it is for."""

    address: str
    names: list[str]
    key: str
    bell: str
    capacity: int


@dataclass
class GroupSnapshot:
    """The names that a group had, and where its messages go."""

    group: str
    key: str
    # As GROUP_MEMBERS returns them.
    names: bytes
    destinations: list[Destination]
    # The SHA-1 of the names, by which the server compares them.
    digest: str = field(init=False)
    # The publisher's, which sends while the group has these names: one for all messages of a burst.
    guard: Any = None
    # True once a later read has found the same names.
    confirmed: bool = False
    # The `monotonic()` of the next check for dead processes.
    next_liveness_check: float = field(
        default_factory=lambda: monotonic() + LIVENESS_CHECK_INTERVAL
    )

    def __post_init__(self) -> None:
        """Hash the names."""
        self.digest = hashlib.sha1(self.names).hexdigest()  # noqa: S324 - Lua has this one

    @property
    def size(self) -> int:
        """The approximate size in bytes."""
        return len(self.names) + OVERHEAD_BYTES * (1 + len(self.destinations))

    @property
    def members(self) -> int:
        """The number of names."""
        return sum(len(destination.names) for destination in self.destinations)

    def may_send_optimistically(self, size: int) -> bool:
        """Return whether a message may be sent without reading the names first.

        Args:
            size: The bytes of the bodies that are sent.
        """
        limit = MAX_CONFIRMED_BYTES if self.confirmed else MAX_UNCONFIRMED_BYTES
        return len(self.names) + size <= limit and len(self.destinations) <= MAX_COALESCED


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
        self._size = 0
        self._lock = threading.Lock()

    def get(self, group: str) -> GroupSnapshot | None:
        """Return the latest snapshot of a group, if it is cached."""
        return self._snapshots.get(group)

    def update(self, group: str, names: bytes) -> GroupSnapshot:
        """Cache the names that a group has now, and return them as a snapshot.

        Args:
            group: The group.
            names: Its names, as GROUP_MEMBERS returns them.
        """
        known = self._snapshots.get(group)
        if known is not None and known.names == names:
            known.confirmed = True
            return known
        snapshot = GroupSnapshot(group, self._keys.group(group), names, self.destinations(names))
        with self._lock:
            known = self._snapshots.pop(group, None)
            if known is not None:
                self._size -= known.size
                snapshot.next_liveness_check = known.next_liveness_check
            if 0 < len(names) <= MAX_CONFIRMED_BYTES and snapshot.size <= MAX_CACHE_BYTES:
                if self._size + snapshot.size > MAX_CACHE_BYTES:
                    self._snapshots.clear()
                    self._size = 0
                self._snapshots[group] = snapshot
                self._size += snapshot.size
        return snapshot

    def destinations(self, names: bytes) -> list[Destination]:
        """Return the message keys that a message for these names goes to, each once."""
        by_address: dict[str, list[str]] = {}
        # Split as the script joined them: a name that channels_redis wrote may end in a newline.
        for name in names.decode(errors="replace").split(" ") if names else ():
            # keys.non_local, without its call: a group may have ten thousand members.
            address = name[: name.find("!") + 1] or name
            named = by_address.get(address)
            if named is None:
                by_address[address] = [name]
            else:
                named.append(name)
        return [self._destination(address, named) for address, named in by_address.items()]

    def _destination(self, address: str, names: list[str]) -> Destination:
        queue = self._keys.messages(address)
        capacity = self._capacity(names[0])
        return Destination(address, names, queue.key, queue.bell, capacity)
