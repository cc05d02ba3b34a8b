"""Track the members of groups in this process, to which Redis sends one message. Without I/O."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._shared.clock import monotonic
from ..keys import non_local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass
class _LocalGroup:
    """The local members of one virtual channel."""

    # Each member's join in server time, and the `monotonic()` of its expiry.
    members: dict[str, tuple[float, float]] = field(default_factory=dict)
    # No membership expires before this.
    first_expiry: float = 0.0
    # Joins without a reply yet, by channel, and the latest leave that each has seen meanwhile.
    joining: Counter[str] = field(default_factory=Counter)
    left: dict[str, float] = field(default_factory=dict)
    # The score that this process wrote last for the virtual channel, as far as it knows.
    score: bytes | None = None
    # The `monotonic()` of that write.
    written_at: float = 0.0


class LocalGroups:
    """The local members of all virtual channels of a broker.

    Args:
        group_expiry: Seconds that a membership lives from its latest join.
    """

    def __init__(self, group_expiry: int) -> None:
        self._expiry = group_expiry
        self._groups: dict[str, _LocalGroup] = {}
        self._virtuals_of: dict[str, set[str]] = {}
        # By virtual channel: the members that Redis still has. Also for each without any member,
        # until it was removed there.
        self._removed_members: dict[str, set[str]] = {}
        # The virtual channels in the order of their latest writes to Redis.
        self._writes: dict[str, None] = {}
        # The number of virtual channels of each address.
        self._addresses: Counter[str] = Counter()
        # By virtual channel and member: the leaves that wait for the messages sent before them; and
        # two times of the server, as `group_discard.lua` returns them.
        self.leaves: dict[tuple[str, str], tuple[float, float]] = {}

    def __len__(self) -> int:
        """Return the number of virtual channels."""
        return len(self._groups)

    @property
    def is_settled(self) -> bool:
        """True if there are no members, and Redis has none that have left."""
        return not self._groups and not self._removed_members

    def begin_join(self, virtual: str, channel: str) -> None:
        """Begin a join; from now on the channel gets the group's messages."""
        group = self._groups.get(virtual)
        if group is None:
            group = self._groups[virtual] = _LocalGroup()
            self._addresses[non_local(virtual)] += 1
        group.joining[channel] += 1
        self._virtuals_of.setdefault(channel, set()).add(virtual)

    def confirm_join(self, virtual: str, channel: str, score: bytes) -> None:
        """Complete a join with its score, the server's time."""
        group = self._groups.get(virtual)
        if group is None:  # flushed meanwhile
            return
        at = float(score)
        if group.left.get(channel, 0.0) < at:
            group.members[channel] = (at, monotonic() + self._expiry)
        if group.score is None or float(group.score) < at:
            group.score = score
        self._note_write(virtual, group)
        self._end_join(virtual, group, channel)

    def cancel_join(self, virtual: str, channel: str) -> None:
        """Cancel a join; an earlier membership stays."""
        group = self._groups.get(virtual)
        if group is not None:
            self._end_join(virtual, group, channel)

    def cancel_joins(self) -> None:
        """Cancel all joins: their event loop was closed."""
        for virtual, group in list(self._groups.items()):
            for channel in list(group.joining.elements()):
                self.cancel_join(virtual, channel)

    def leave(self, virtual: str, channel: str, at: float) -> None:
        """End a channel's membership if it is older than `at`, in the server's time."""
        self.leaves.pop((virtual, channel), None)
        group = self._groups.get(virtual)
        if group is None:
            return
        if channel in group.joining:
            group.left[channel] = at
        if channel in group.members and group.members[channel][0] <= at:
            self._remove(virtual, group, channel)

    def begin_leave(self, virtual: str, channel: str, at: float, after: float) -> None:
        """End a channel's membership once it has the messages sent before.

        Args:
            virtual: The virtual channel.
            channel: The channel.
            at: As for `leave`.
            after: The time of the latest message that the channel still gets, by the clock of the
                server that has the messages.
        """
        group = self._groups.get(virtual)
        if group is None:
            return
        pending, _ = self.leaves.get((virtual, channel), (0.0, 0.0))
        joined, _ = group.members.get(channel, (at, 0.0))
        # A second leave of one membership lets in nothing that was sent since the first.
        if pending < at and (pending < joined or channel in group.joining):
            self.leaves[virtual, channel] = at, after

    def due_leaves(self, address: str, until: float) -> list[tuple[str, str, float]]:
        """Return the leaves that precede a message, as arguments for `leave`.

        Args:
            address: The address.
            until: The time of the message.
        """
        return [
            (virtual, channel, at)
            for (virtual, channel), (at, after) in self.leaves.items()
            if after < until and non_local(virtual) == address
        ]

    def remove_channel(self, channel: str) -> None:
        """End all memberships of a channel."""
        for virtual in list(self._virtuals_of.get(channel, ())):
            self._remove(virtual, self._groups[virtual], channel)

    def members(self, virtual: str) -> list[str]:
        """Return the channels that get a message for the virtual channel."""
        group = self._groups.get(virtual)
        if group is None:
            return []
        now = monotonic()
        if group.first_expiry <= now:
            for channel in [name for name, (_, end) in group.members.items() if end <= now]:
                self._remove(virtual, group, channel)
            ends = (end for _, end in group.members.values())
            group.first_expiry = min(ends, default=now + self._expiry)
        if not group.joining:
            return list(group.members)
        return list({**group.members, **group.joining})

    def renew(self, virtual: str, is_consumed: Callable[[str], bool]) -> bool:
        """Renew the memberships whose consumers run, and end those that have expired.

        A third of their time is over when they are renewed.

        Args:
            virtual: The virtual channel.
            is_consumed: Returns whether the consumer of a channel runs.

        Returns:
            Whether the virtual channel has to be written to Redis again.
        """
        group = self._groups.get(virtual)
        if group is None:
            return False
        now = monotonic()
        renewed, due = now + self._expiry, now + self._expiry * 2 / 3
        is_alive = False
        for channel, (at, end) in list(group.members.items()):
            if end > due:
                is_alive = True
            elif is_consumed(channel):
                group.members[channel] = at, renewed
                is_alive = True
            elif end <= now:
                self._remove(virtual, group, channel)
        return is_alive and group.written_at <= now - self._expiry / 3

    def written(self, virtual: str, score: bytes) -> None:
        """Take over the score of another write, perhaps of a server with another clock."""
        group = self._groups.get(virtual)
        if group is None:
            return
        group.score = score
        self._note_write(virtual, group)
        at = float(score)
        group.members = {
            channel: (min(joined, at), end) for channel, (joined, end) in group.members.items()
        }

    def forget_if_empty(self, virtual: str) -> None:
        """Forget a virtual channel that has no members."""
        if virtual not in self._groups or self.members(virtual):
            return
        del self._groups[virtual]
        self._writes.pop(virtual, None)
        address = non_local(virtual)
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]

    def virtuals(self) -> list[str]:
        """Return all virtual channels."""
        return list(self._groups)

    def addresses(self) -> list[str]:
        """Return the addresses that have virtual channels."""
        return list(self._addresses)

    def score(self, virtual: str) -> bytes | None:
        """Return the score that this process wrote last for a virtual channel."""
        group = self._groups.get(virtual)
        return None if group is None else group.score

    def latest_writes(self, most: int) -> list[str]:
        """Return the virtual channels that were written to Redis last, the latest first."""
        return list(itertools.islice(reversed(self._writes), most))

    def take_removed_members(self) -> dict[str, set[str]]:
        """Return, once, what Redis has to learn: the members that have left, and not come back.

        Returns:
            By virtual channel. One without members may have no names here.
        """
        removed, self._removed_members = self._removed_members, {}
        for virtual, channels in removed.items():
            channels.difference_update(self.members(virtual))
        return {
            virtual: channels
            for virtual, channels in removed.items()
            if channels or not self.members(virtual)
        }

    def note_removed(self, virtual: str, channels: Iterable[str] = ()) -> None:
        """Note that Redis may have a virtual channel or some members of it wrongly."""
        self._removed_members.setdefault(virtual, set()).update(channels)

    def clear(self) -> None:
        """End all memberships."""
        self._removed_members.clear()
        self.leaves.clear()
        self._writes.clear()
        self._addresses.clear()
        self._groups.clear()
        self._virtuals_of.clear()

    def _note_write(self, virtual: str, group: _LocalGroup) -> None:
        group.written_at = monotonic()
        # Taken out first, so that the latest is the last one in the dict.
        self._writes.pop(virtual, None)
        self._writes[virtual] = None

    def _end_join(self, virtual: str, group: _LocalGroup, channel: str) -> None:
        group.joining[channel] -= 1
        if group.joining[channel] <= 0:
            del group.joining[channel]
            group.left.pop(channel, None)
            if channel not in group.members:
                self._remove(virtual, group, channel)

    def _remove(self, virtual: str, group: _LocalGroup, channel: str) -> None:
        group.members.pop(channel, None)
        if channel in group.joining:
            return
        self.note_removed(virtual, [channel])
        virtuals = self._virtuals_of.get(channel)
        if virtuals is not None:
            virtuals.discard(virtual)
            if not virtuals:
                del self._virtuals_of[channel]
