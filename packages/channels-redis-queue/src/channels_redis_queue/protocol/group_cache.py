"""Decides which groups are taken to have the names that they had when they were last looked at."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._shared.transport.batch import MAX_COALESCED

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..keys import Keys

# How large the list of a group's names may be, and how large all that is sent, for a message to be
# sent on the assumption that nothing has changed: if something has, both have travelled in vain.
# The second holds for a group that was found unchanged.
MOST_UNTRIED = 4096
MOST_TRIED = 262_144
# About how many bytes may be remembered, and how many a group has, and each of its message keys,
# besides the names.
MOST_REMEMBERED = 16_000_000
OVERHEAD = 600
# Seconds between two looks for processes in a group that have died.
LOOK_INTERVAL = 30


@dataclass(frozen=True)
class Destination:
    """A message key that a group message goes to, and the names in it that it is for."""

    address: str
    names: list[str]
    key: str
    bell: str
    counts: str
    capacity: int


@dataclass
class GroupSnapshot:
    """The names that a group had, and where its messages go."""

    # As the server told them.
    names: bytes
    destinations: list[Destination]
    # Whether it had the same when it was looked at again.
    tried: bool = False
    # The `time.monotonic()` from which on dead processes are looked for.
    next_look: float = field(default_factory=lambda: time.monotonic() + LOOK_INTERVAL)

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.names) + OVERHEAD * (1 + len(self.destinations))

    @property
    def members(self) -> int:
        """How many names it has."""
        return sum(len(destination.names) for destination in self.destinations)

    def may_send_optimistically(self, size: int) -> bool:
        """Tell whether a message of this size, for all of it, may be sent unseen."""
        most = MOST_TRIED if self.tried else MOST_UNTRIED
        return len(self.names) + size <= most and len(self.destinations) <= MAX_COALESCED


class GroupCache:
    """The groups that one layer has sent to in this process. Threads may share it.

    Args:
        keys: Names the message keys.
        capacity: Returns the capacity of a channel.
    """

    def __init__(self, keys: Keys, capacity: Callable[[str], int]) -> None:
        self._keys = keys
        self._capacity = capacity
        self._group_cache: dict[str, GroupSnapshot] = {}
        self._size = 0
        self._lock = threading.Lock()

    def last(self, group: str) -> GroupSnapshot | None:
        """Return what the group had, if that is remembered."""
        return self._group_cache.get(group)

    def update(self, group: str, names: bytes) -> GroupSnapshot:
        """Return what the group has, and remember it.

        Args:
            group: The group.
            names: Its names, as GROUP_MEMBERS returns them.
        """
        known = self._group_cache.get(group)
        if known is not None and known.names == names:
            known.tried = True
            return known
        snapshot = GroupSnapshot(names, self.destinations(names))
        with self._lock:
            known = self._group_cache.pop(group, None)
            if known is not None:
                self._size -= known.size
                snapshot.next_look = known.next_look
            if 0 < len(names) <= MOST_TRIED:
                if self._size + snapshot.size > MOST_REMEMBERED:
                    self._group_cache.clear()
                    self._size = 0
                self._group_cache[group] = snapshot
                self._size += snapshot.size
        return snapshot

    def destinations(self, names: bytes) -> list[Destination]:
        """Return where a message for these members goes: to each message key once."""
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
        beside = self._keys.messages(address)
        capacity = self._capacity(names[0])
        return Destination(address, names, beside.key, beside.bell, beside.counts, capacity)
