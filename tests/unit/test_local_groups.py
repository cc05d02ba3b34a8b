"""Which channels of a process get a group's message."""

from __future__ import annotations

import time

import pytest

from channels_redis_queue.protocol.local_groups import LocalGroups

ROOM = "specific.0!:g:room"
HALL = "specific.0!:g:hall"
AT = b"1700000000.5"  # a server's time
BEFORE, AFTER = 1700000000.25, 1700000000.75


@pytest.fixture
def local_groups() -> LocalGroups:
    """Give the memberships of a process that has none yet."""
    return LocalGroups(group_expiry=60)


def join(local_groups: LocalGroups, *channels: str, virtual: str = ROOM, at: bytes = AT) -> None:
    """Let channels join, with the server's answer."""
    for channel in channels:
        local_groups.join(virtual, channel)
        local_groups.joined(virtual, channel, at)


def forget(local_groups: LocalGroups, virtual: str) -> tuple[bool, bytes | None]:
    """Drop a virtual channel if it is empty; return whether it was, and its score."""
    found = local_groups.emptied(virtual)
    local_groups.forget_if_empty(virtual)
    return found


def test_members_are_those_who_joined(local_groups: LocalGroups) -> None:
    """Each virtual channel has its own members, in the order in which they joined."""
    join(local_groups, "a", "b")
    join(local_groups, "b", virtual=HALL)
    assert local_groups.members(ROOM) == ["a", "b"]
    assert local_groups.members(HALL) == ["b"]
    assert local_groups.members("specific.0!:g:other") == []
    assert sorted(local_groups.virtuals()) == sorted([ROOM, HALL])


def test_joining_channel_is_a_member_at_once(local_groups: LocalGroups) -> None:
    """A message may come before the reply that confirms the join: it is for the channel, too."""
    join(local_groups, "a")
    local_groups.join(ROOM, "b")
    assert local_groups.members(ROOM) == ["a", "b"]


def test_failed_join_leaves_no_member(local_groups: LocalGroups) -> None:
    """A join that the server did not confirm is undone."""
    local_groups.join(ROOM, "a")
    local_groups.join_failed(ROOM, "a")
    assert local_groups.members(ROOM) == []
    assert forget(local_groups, ROOM) == (True, None)
    assert local_groups.virtuals() == []


def test_failed_renewal_leaves_the_membership(local_groups: LocalGroups) -> None:
    """A channel that was a member stays one when its renewal fails."""
    join(local_groups, "a")
    local_groups.join(ROOM, "a")
    local_groups.join_failed(ROOM, "a")
    assert local_groups.members(ROOM) == ["a"]


def test_two_joins_at_once(local_groups: LocalGroups) -> None:
    """One of two concurrent joins may fail; the other counts."""
    local_groups.join(ROOM, "a")
    local_groups.join(ROOM, "a")
    local_groups.joined(ROOM, "a", AT)
    local_groups.join_failed(ROOM, "a")
    assert local_groups.members(ROOM) == ["a"]


def test_leave_ends_an_older_membership_only(local_groups: LocalGroups) -> None:
    """A leave is older than a join that came after it, whenever it is read."""
    join(local_groups, "a", "b")
    local_groups.leave(ROOM, "a", BEFORE)
    assert local_groups.members(ROOM) == ["a", "b"]
    local_groups.leave(ROOM, "a", AFTER)
    assert local_groups.members(ROOM) == ["b"]


def test_leave_read_before_the_reply_of_the_join(local_groups: LocalGroups) -> None:
    """A leave of the time after the join counts, also when it is read before the join's reply."""
    local_groups.join(ROOM, "a")
    local_groups.leave(ROOM, "a", AFTER)
    local_groups.joined(ROOM, "a", AT)
    assert local_groups.members(ROOM) == []
    local_groups.join(ROOM, "b")
    local_groups.leave(ROOM, "b", BEFORE)
    local_groups.joined(ROOM, "b", AT)
    assert local_groups.members(ROOM) == ["b"]


def test_leave_of_no_member_does_nothing(local_groups: LocalGroups) -> None:
    """A process is told of channels, too, that it does not have in the group."""
    local_groups.leave(ROOM, "a", AFTER)
    join(local_groups, "b")
    local_groups.leave(ROOM, "a", AFTER)
    assert local_groups.members(ROOM) == ["b"]


def test_membership_expires(local_groups: LocalGroups, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member is out `group_expiry` seconds after its own latest join."""
    join(local_groups, "a", "b")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 59)
    join(local_groups, "b")
    assert local_groups.members(ROOM) == ["a", "b"]
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert local_groups.members(ROOM) == ["b"]
    monkeypatch.setattr(time, "monotonic", lambda: now + 120)
    assert local_groups.members(ROOM) == []


def test_gone_channel_leaves_all_its_groups(local_groups: LocalGroups) -> None:
    """A consumer that has gone is in no group any more, and others stay."""
    join(local_groups, "a", "b")
    join(local_groups, "a", virtual=HALL)
    assert sorted(local_groups.remove_channel("a")) == sorted([ROOM, HALL])
    assert local_groups.members(ROOM) == ["b"]
    assert local_groups.members(HALL) == []
    assert local_groups.remove_channel("a") == []


def test_virtual_channel_is_forgotten_when_empty(local_groups: LocalGroups) -> None:
    """It stays while it has members; then its latest score tells what may be removed."""
    join(local_groups, "a", at=b"2")
    local_groups.join(ROOM, "b")
    local_groups.joined(ROOM, "b", b"10")
    assert forget(local_groups, ROOM) == (False, None)
    local_groups.remove_channel("a")
    local_groups.remove_channel("b")
    assert forget(local_groups, ROOM) == (True, b"10")
    assert ROOM not in local_groups
    assert forget(local_groups, ROOM) == (True, None)


def test_virtual_channel_with_a_join_under_way_is_not_forgotten(local_groups: LocalGroups) -> None:
    """A join whose reply has not come keeps the virtual channel in its group."""
    local_groups.join(ROOM, "a")
    assert forget(local_groups, ROOM) == (False, None)


def test_scores_are_compared_as_numbers(local_groups: LocalGroups) -> None:
    """Replies may come out of order; the highest score is what the server has."""
    local_groups.join(ROOM, "a")
    local_groups.join(ROOM, "b")
    local_groups.joined(ROOM, "a", b"10")
    local_groups.joined(ROOM, "b", b"9")
    local_groups.remove_channel("a")
    local_groups.remove_channel("b")
    assert forget(local_groups, ROOM) == (True, b"10")


def test_written_again_to_a_server_whose_clock_is_behind(local_groups: LocalGroups) -> None:
    """A leave of the new server's time ends a membership of the old server's."""
    join(local_groups, "a", "b", at=b"1000")
    local_groups.written(ROOM, b"500")
    local_groups.leave(ROOM, "a", 501.0)
    assert local_groups.members(ROOM) == ["b"]
    local_groups.remove_channel("b")
    assert forget(local_groups, ROOM) == (True, b"500")


def test_written_again_leaves_later_leaves_their_effect(local_groups: LocalGroups) -> None:
    """A membership does not become younger by being written again."""
    join(local_groups, "a", at=b"1000")
    local_groups.written(ROOM, b"2000")
    local_groups.leave(ROOM, "a", 1500.0)
    assert local_groups.members(ROOM) == []


def test_clear_ends_all(local_groups: LocalGroups) -> None:
    """After a flush groups are empty, and late replies change nothing."""
    join(local_groups, "a")
    local_groups.join(ROOM, "b")
    local_groups.clear()
    local_groups.joined(ROOM, "b", AT)
    local_groups.join_failed(ROOM, "b")
    local_groups.written(ROOM, AT)
    assert local_groups.members(ROOM) == []
    assert local_groups.virtuals() == []


def test_nothing_is_left_of_members_that_have_gone(local_groups: LocalGroups) -> None:
    """Memory does not grow with the members that a process once had."""
    for number in range(100):
        join(local_groups, f"channel{number}")
        local_groups.join(ROOM, f"failed{number}")
        local_groups.join_failed(ROOM, f"failed{number}")
    for number in range(0, 100, 2):
        local_groups.remove_channel(f"channel{number}")
        local_groups.leave(ROOM, f"channel{number + 1}", AFTER)
    assert forget(local_groups, ROOM) == (True, AT)
    assert (local_groups._groups, local_groups._virtuals_of) == ({}, {})


def test_writes_are_told_in_order_of_their_latest(local_groups: LocalGroups) -> None:
    """A look asks for what was written since the one before; joins under way are not."""
    join(local_groups, "a")
    first, mark = local_groups.written_since(0)
    assert first == [ROOM]
    join(local_groups, "b", virtual=HALL)
    local_groups.join("specific.0!:g:other", "c")
    assert local_groups.written_since(mark)[0] == [HALL]
    local_groups.written(ROOM, AT)
    later, mark = local_groups.written_since(mark)
    assert sorted(later) == sorted([ROOM, HALL])
    assert local_groups.written_since(mark) == ([], mark)
    local_groups.remove_channel("b")
    local_groups.forget_if_empty(HALL)
    assert local_groups.written_since(0)[0] == [ROOM]
    local_groups.clear()
    assert local_groups.written_since(0)[0] == []


def test_addresses_of_virtual_channels(local_groups: LocalGroups) -> None:
    """An address is there as long as it has a virtual channel."""
    assert local_groups.addresses() == []
    join(local_groups, "a")
    join(local_groups, "a", virtual=HALL)
    join(local_groups, "b", virtual="other.0!:g:room")
    assert local_groups.addresses() == ["specific.0!", "other.0!"]
    local_groups.remove_channel("a")
    local_groups.forget_if_empty(ROOM)
    assert local_groups.addresses() == ["specific.0!", "other.0!"]
    local_groups.forget_if_empty(HALL)
    assert local_groups.addresses() == ["other.0!"]
    assert len(local_groups) == 1
