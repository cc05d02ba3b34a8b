"""Any order of joins, leaves, replies and expiry, with a model of who is a member."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from channels_redis_queue.keys import non_local
from channels_redis_queue.protocol import local_groups
from channels_redis_queue.protocol.local_groups import LocalGroups
from unit.conftest import rule_on

EXPIRY = 60
VIRTUALS = ["specific.0!:g:one", "specific.1!:g:one"]
virtuals = st.sampled_from(VIRTUALS)
channels = st.sampled_from(["a", "b"])


@dataclass
class Group:
    """The expected state of a virtual channel."""

    # When each member joined in the server's time, and when it expires in ours.
    members: dict[str, tuple[int, float]] = field(default_factory=dict)
    score: bytes | None = None


class Memberships(RuleBasedStateMachine):
    """The local members of a process; its server answers joins at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(local_groups, "monotonic", lambda: self.now)
        # Of the server of each virtual channel.
        self.server_time = dict.fromkeys(VIRTUALS, 1)
        self.tested = LocalGroups(EXPIRY)
        self.groups: dict[str, Group] = {}
        # Joins that the server has not executed, or with replies that were not read.
        self.joining: list[tuple[str, str]] = []
        self.replies: list[tuple[str, str, int]] = []
        # The latest leave that was read, of each channel of which a join is under way.
        self.left: dict[tuple[str, str], int] = {}
        # Leaves of this process that wait for messages, and their times.
        self.leaves: dict[tuple[str, str], int] = {}
        self.removed: set[tuple[str, str]] = set()
        self.writes: list[str] = []

    @rule(virtual=virtuals, channel=channels, at_once=st.booleans())
    def join(self, virtual: str, channel: str, at_once: bool) -> None:  # noqa: FBT001
        """Begin to join; the reply comes at once or later."""
        self.groups.setdefault(virtual, Group())
        self.tested.begin_join(virtual, channel)
        if at_once:
            self.server_time[virtual] += 1
            reply = virtual, channel, self.server_time[virtual]
            self.replies.append(reply)
            self.read(reply)
        else:
            self.joining.append((virtual, channel))

    @rule_on("join", lambda self: self.joining, fails=st.sampled_from([False, False, True]))
    def server_joins(self, join: tuple[str, str], *, fails: bool) -> None:
        """Let the server execute a join, or lose the connection before that."""
        virtual, channel = join
        present = self.present()
        self.joining.remove((virtual, channel))
        if fails:
            self.tested.cancel_join(virtual, channel)
            self.note_removed(present)
        else:
            self.server_time[virtual] += 1
            self.replies.append((virtual, channel, self.server_time[virtual]))

    @rule_on("reply", lambda self: self.replies)
    def read(self, reply: tuple[str, str, int]) -> None:
        """Read the reply of a join; replies may overtake each other."""
        virtual, channel, at = reply
        present = self.present()
        self.replies.remove(reply)
        group = self.groups[virtual]
        if self.left.get((virtual, channel), 0) < at:
            group.members[channel] = (at, self.now + EXPIRY)
        if group.score is None or float(group.score) < at:
            group.score = b"%d" % at
        self.wrote(virtual)
        self.tested.confirm_join(virtual, channel, b"%d" % at)
        self.note_removed(present)

    @rule(virtual=virtuals, channel=channels)
    def begin_leave(self, virtual: str, channel: str) -> None:
        """Let a channel leave, perhaps one of another process, after what is on its way."""
        self.server_time[virtual] += 1
        now = self.server_time[virtual]
        self.tested.begin_leave(virtual, channel, now, now)
        if group := self.groups.get(virtual):
            joined, _ = group.members.get(channel, (now, 0))
            key = virtual, channel
            pending = self.leaves.get(key, 0)
            if pending < now and (pending < joined or key in self.under_way()):
                self.leaves[key] = now

    @rule(virtual=virtuals)
    def read_all_messages(self, virtual: str) -> None:
        """Apply the leaves: a membership that began later stays."""
        present = self.present()
        due = {channel: at for (name, channel), at in self.leaves.items() if name == virtual}
        found = self.tested.due_leaves(non_local(virtual), math.inf)
        assert found == [(virtual, channel, at) for channel, at in due.items()]
        for channel, at in due.items():
            self.tested.leave(virtual, channel, at)
            del self.leaves[virtual, channel]
            if (virtual, channel) in self.under_way():
                self.left[virtual, channel] = at
            if group := self.groups.get(virtual):
                joined, _ = group.members.get(channel, (at + 1, 0))
                if joined <= at:
                    del group.members[channel]
        self.note_removed(present)

    @rule(channel=channels)
    def consumer_ends(self, channel: str) -> None:
        """End a consumer; its joins that are under way may still succeed."""
        present = self.present()
        for group in self.groups.values():
            group.members.pop(channel, None)
        self.tested.remove_channel(channel)
        self.note_removed(present)

    @precondition(lambda self: not self.under_way())
    @rule(virtual=virtuals, behind=st.integers(0, 5))
    def write_again(self, virtual: str, behind: int) -> None:
        """Restore the virtual channel on another server; its clock may be behind."""
        self.server_time[virtual] = at = max(1, self.server_time[virtual] - behind)
        self.tested.written(virtual, b"%d" % at)
        if group := self.groups.get(virtual):
            group.score = b"%d" % at
            group.members = {
                name: (min(joined, at), end) for name, (joined, end) in group.members.items()
            }
            self.wrote(virtual)

    @rule(seconds=st.sampled_from([1, EXPIRY // 2, EXPIRY]))
    def wait(self, seconds: int) -> None:
        """Let time pass, and memberships end."""
        present = self.present()
        self.now += seconds
        for group in self.groups.values():
            group.members = {
                name: (at, end) for name, (at, end) in group.members.items() if end > self.now
            }
        for virtual in VIRTUALS:
            self.tested.renew(virtual, lambda _: False)
        self.note_removed(present)

    @rule(virtual=virtuals)
    def forget_if_empty(self, virtual: str) -> None:
        """Forget a virtual channel without members, once Redis knows."""
        empty = not self.members(virtual)
        self.tested.forget_if_empty(virtual)
        if empty and virtual in self.groups:
            del self.groups[virtual]
        if empty and virtual in self.writes:
            self.writes.remove(virtual)

    @rule()
    def take_removed_members(self) -> None:
        """Take the members that have left and not come back; each is reported once.

        So is each virtual channel that has none left.
        """
        found = self.tested.take_removed_members()
        empty = {virtual for virtual, _ in self.removed if not self.members(virtual)}
        assert empty == {virtual for virtual in found if not self.members(virtual)}
        reported = {(virtual, channel) for virtual, names in found.items() for channel in names}
        assert reported == self.removed - self.present()
        self.removed.clear()

    @rule()
    def latest_writes(self) -> None:
        """Read what was written last."""
        assert self.tested.latest_writes(1) == self.writes[:-2:-1]
        assert self.tested.latest_writes(1000) == self.writes[::-1]

    @precondition(lambda self: sum(self.server_time.values()) % 5 == 0)
    @rule()
    def clear(self) -> None:
        """End all memberships; the replies that are under way don't come."""
        self.tested.clear()
        for virtual, channel, _ in self.replies:
            self.tested.confirm_join(virtual, channel, b"1")
        for virtual, channel in self.joining:
            self.tested.cancel_join(virtual, channel)
        for state in (
            self.groups,
            self.joining,
            self.replies,
            self.left,
            self.leaves,
            self.removed,
        ):
            state.clear()
        self.writes.clear()

    def under_way(self) -> set[tuple[str, str]]:
        """The joins that have no reply."""
        return {*self.joining, *((virtual, channel) for virtual, channel, _ in self.replies)}

    def members(self, virtual: str) -> set[str]:
        """Return who gets a message for the virtual channel."""
        joining = {channel for name, channel in self.under_way() if name == virtual}
        return joining.union(self.groups[virtual].members if virtual in self.groups else ())

    def present(self) -> set[tuple[str, str]]:
        """All members of all virtual channels."""
        return {(virtual, channel) for virtual in VIRTUALS for channel in self.members(virtual)}

    def note_removed(self, before: set[tuple[str, str]]) -> None:
        """Note who is no longer there."""
        self.removed |= before - self.present()
        for key in set(self.left) - self.under_way():
            del self.left[key]

    def wrote(self, virtual: str) -> None:
        """Note that a virtual channel was written to Redis, as the latest."""
        if virtual in self.writes:
            self.writes.remove(virtual)
        self.writes.append(virtual)

    @invariant()
    def members_are_those_of_the_model(self) -> None:
        """Members and virtual channels agree."""
        for virtual in VIRTUALS:
            found = self.tested.members(virtual)
            assert len(found) == len(set(found))
            assert set(found) == self.members(virtual)
            assert (virtual in self.tested.virtuals()) == (virtual in self.groups)
        for virtual, group in self.groups.items():
            assert self.tested.score(virtual) == group.score
        assert set(self.tested.virtuals()) == set(self.groups)
        assert set(self.tested.addresses()) == set(map(non_local, self.groups))

    def teardown(self) -> None:
        """End all: nothing is left in memory."""
        for virtual, channel in self.under_way():
            for _ in range(len(self.joining) + len(self.replies)):
                self.tested.cancel_join(virtual, channel)
        for channel in "ab":
            self.tested.remove_channel(channel)
        for virtual in VIRTUALS:
            self.tested.forget_if_empty(virtual)
        assert not self.tested._groups
        assert not self.tested._virtuals_of
        self.patch.undo()


TestMemberships = Memberships.TestCase
