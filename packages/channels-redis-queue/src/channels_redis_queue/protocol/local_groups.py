"""Decides which channels of this process are in which group. Redis knows the process alone."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from ..keys import non_local


@dataclass
class _LocalGroup:
    """The local members of one virtual channel."""

    # When each joined: in server time, and the `time.monotonic()` at which it is out.
    members: dict[str, tuple[float, float]] = field(default_factory=dict)
    # No membership ends before this.
    first_end: float = 0.0
    # Joins whose reply has not come, by channel, and the last leave of each seen meanwhile.
    joining: Counter[str] = field(default_factory=Counter)
    left: dict[str, float] = field(default_factory=dict)
    # The score that this process wrote last for the virtual channel.
    score: bytes | None = None


class LocalGroups:
    """The local members of all virtual channels of a process. Threads may share it.

    Args:
        group_expiry: Seconds that a membership lives from its latest join.
    """

    def __init__(self, group_expiry: int) -> None:
        self._expiry = group_expiry
        self._lock = threading.RLock()
        self._rooms: dict[str, _LocalGroup] = {}
        self._rooms_of: dict[str, set[str]] = {}
        # By virtual channel: who is no longer behind it, and Redis has not been told.
        self._departed: dict[str, set[str]] = {}
        # The number of the latest write of each virtual channel to Redis, in this order.
        self._writes: dict[str, int] = {}
        self._last_write = 0
        # How many virtual channels each address has.
        self._addresses: Counter[str] = Counter()

    def __contains__(self, virtual: object) -> bool:
        """Return whether the virtual channel has local members, or some on the way."""
        return virtual in self._rooms

    def __len__(self) -> int:
        """Return the number of virtual channels."""
        return len(self._rooms)

    def join(self, virtual: str, channel: str) -> None:
        """Note that a channel joins; from now on it gets the group's messages."""
        with self._lock:
            room = self._rooms.get(virtual)
            if room is None:
                room = self._rooms[virtual] = _LocalGroup()
                self._addresses[non_local(virtual)] += 1
            room.joining[channel] += 1
            self._rooms_of.setdefault(channel, set()).add(virtual)

    def joined(self, virtual: str, channel: str, score: bytes) -> None:
        """Note that the server has the membership, with this score: its time there."""
        with self._lock:
            room = self._rooms.get(virtual)
            if room is None:  # flushed meanwhile
                return
            at = float(score)
            if room.left.get(channel, 0.0) < at:
                room.members[channel] = (at, time.monotonic() + self._expiry)
            if room.score is None or float(room.score) < at:
                room.score = score
            self._note_write(virtual)
            self._join_ended(virtual, room, channel)

    def joined_at(self, virtual: str, channel: str) -> float | None:
        """Return when a channel joined last; None if it has not, or does so just now."""
        with self._lock:
            room = self._rooms.get(virtual)
            if room is None or channel not in room.members or channel in room.joining:
                return None
            return room.members[channel][0]

    def join_failed(self, virtual: str, channel: str) -> None:
        """Undo `join`; an earlier membership stays."""
        with self._lock:
            room = self._rooms.get(virtual)
            if room is not None:
                self._join_ended(virtual, room, channel)

    def leave(self, virtual: str, channel: str, at: float) -> None:
        """End a channel's membership if it is older than `at`, in the server's time."""
        with self._lock:
            room = self._rooms.get(virtual)
            if room is None:
                return
            if room.joining[channel]:
                room.left[channel] = at
            else:
                del room.joining[channel]
            if channel in room.members and room.members[channel][0] <= at:
                self._remove(virtual, room, channel)

    def gone(self, channel: str) -> list[str]:
        """End all memberships of a channel; return its virtual channels."""
        with self._lock:
            virtuals = list(self._rooms_of.get(channel, ()))
            for virtual in virtuals:
                self._remove(virtual, self._rooms[virtual], channel)
            return virtuals

    def members(self, virtual: str) -> list[str]:
        """Return the channels that get a message for the virtual channel."""
        with self._lock:
            room = self._rooms.get(virtual)
            if room is None:
                return []
            now = time.monotonic()
            if room.first_end <= now:
                for channel in [name for name, (_, end) in room.members.items() if end <= now]:
                    self._remove(virtual, room, channel)
                ends = (end for _, end in room.members.values())
                room.first_end = min(ends, default=now + self._expiry)
            if not room.joining:
                return list(room.members)
            return list({**room.members, **room.joining})

    def written(self, virtual: str, score: bytes) -> None:
        """Note that the virtual channel was written again, on a server with another clock."""
        with self._lock:
            room = self._rooms.get(virtual)
            if room is None:
                return
            room.score = score
            self._note_write(virtual)
            at = float(score)
            room.members = {
                channel: (min(joined, at), end) for channel, (joined, end) in room.members.items()
            }

    def emptied(self, virtual: str) -> tuple[bool, bytes | None]:
        """Return whether a virtual channel has no members, and the score that was written last."""
        with self._lock:
            room = self._rooms.get(virtual)
            if room is None:
                return True, None
            return (False, None) if self.members(virtual) else (True, room.score)

    def forget_if_empty(self, virtual: str) -> None:
        """Drop a virtual channel without members."""
        with self._lock:
            if virtual not in self._rooms or self.members(virtual):
                return
            del self._rooms[virtual]
            self._writes.pop(virtual, None)
            address = non_local(virtual)
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    def virtuals(self) -> list[str]:
        """Return all virtual channels."""
        with self._lock:
            return list(self._rooms)

    def empty(self) -> list[str]:
        """Return the virtual channels that have no members."""
        return [virtual for virtual in self.virtuals() if not self.members(virtual)]

    def addresses(self) -> list[str]:
        """Return the addresses that have virtual channels."""
        with self._lock:
            return list(self._addresses)

    def score(self, virtual: str) -> bytes | None:
        """Return the score that this process wrote last for a virtual channel."""
        room = self._rooms.get(virtual)
        return None if room is None else room.score

    def written_since(self, write: int) -> tuple[list[str], int]:
        """Return the virtual channels written to Redis after a write, and the number of the last.

        Args:
            write: What the call before returned as the number of the last; 0 for all.
        """
        with self._lock:
            latest = itertools.takewhile(
                lambda each: each[1] > write, reversed(self._writes.items())
            )
            return [virtual for virtual, _ in latest], self._last_write

    def take_departed(self) -> dict[str, set[str]]:
        """Return, once, who has left each virtual channel and has not come back."""
        with self._lock:
            departed, self._departed = self._departed, {}
            for virtual, channels in departed.items():
                room = self._rooms.get(virtual)
                if room is not None:
                    channels.difference_update(room.members, room.joining)
            return {virtual: channels for virtual, channels in departed.items() if channels}

    def departed_again(self, virtual: str, channels: set[str]) -> None:
        """Undo `take_departed` for a virtual channel."""
        with self._lock:
            self._departed.setdefault(virtual, set()).update(channels)

    def clear(self) -> None:
        """End all memberships."""
        with self._lock:
            self._departed.clear()
            self._writes.clear()
            self._addresses.clear()
            self._rooms.clear()
            self._rooms_of.clear()

    def _note_write(self, virtual: str) -> None:
        self._last_write += 1
        # Taken out first, so that the latest is the last one in the dict.
        self._writes.pop(virtual, None)
        self._writes[virtual] = self._last_write

    def _join_ended(self, virtual: str, room: _LocalGroup, channel: str) -> None:
        room.joining[channel] -= 1
        if room.joining[channel] <= 0:
            del room.joining[channel]
            room.left.pop(channel, None)
            if channel not in room.members:
                self._remove(virtual, room, channel)

    def _remove(self, virtual: str, room: _LocalGroup, channel: str) -> None:
        room.members.pop(channel, None)
        if channel in room.joining:
            return
        self._departed.setdefault(virtual, set()).add(channel)
        virtuals = self._rooms_of.get(channel)
        if virtuals is not None:
            virtuals.discard(virtual)
            if not virtuals:
                del self._rooms_of[channel]
