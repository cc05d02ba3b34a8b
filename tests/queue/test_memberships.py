"""Which channels of a process get a group's message."""

from __future__ import annotations

import time

import pytest

from channels_redis_queue.protocol.local_groups import Memberships

ROOM = "specific.0!:g:room"
HALL = "specific.0!:g:hall"
AT = b"1700000000.5"  # a server's time
BEFORE, AFTER = 1700000000.25, 1700000000.75


@pytest.fixture
def memberships() -> Memberships:
    """Give the memberships of a process that has none yet."""
    return Memberships(group_expiry=60)


def join(memberships: Memberships, *channels: str, virtual: str = ROOM, at: bytes = AT) -> None:
    """Let channels join, with the server's answer."""
    for channel in channels:
        memberships.join(virtual, channel)
        memberships.joined(virtual, channel, at)


def forget(memberships: Memberships, virtual: str) -> tuple[bool, bytes | None]:
    """Drop a virtual channel if it is empty; return whether it was, and its score."""
    found = memberships.emptied(virtual)
    memberships.forget_if_empty(virtual)
    return found


def test_members_are_those_who_joined(memberships: Memberships) -> None:
    """Each virtual channel has its own members, in the order in which they joined."""
    join(memberships, "a", "b")
    join(memberships, "b", virtual=HALL)
    assert memberships.members(ROOM) == ["a", "b"]
    assert memberships.members(HALL) == ["b"]
    assert memberships.members("specific.0!:g:other") == []
    assert sorted(memberships.virtuals()) == sorted([ROOM, HALL])


def test_joining_channel_is_a_member_at_once(memberships: Memberships) -> None:
    """A message may come before the reply that confirms the join: it is for the channel, too."""
    join(memberships, "a")
    memberships.join(ROOM, "b")
    assert memberships.members(ROOM) == ["a", "b"]


def test_failed_join_leaves_no_member(memberships: Memberships) -> None:
    """A join that the server did not confirm is undone."""
    memberships.join(ROOM, "a")
    memberships.join_failed(ROOM, "a")
    assert memberships.members(ROOM) == []
    assert forget(memberships, ROOM) == (True, None)
    assert memberships.virtuals() == []


def test_failed_renewal_leaves_the_membership(memberships: Memberships) -> None:
    """A channel that was a member stays one when its renewal fails."""
    join(memberships, "a")
    memberships.join(ROOM, "a")
    memberships.join_failed(ROOM, "a")
    assert memberships.members(ROOM) == ["a"]


def test_two_joins_at_once(memberships: Memberships) -> None:
    """One of two concurrent joins may fail; the other counts."""
    memberships.join(ROOM, "a")
    memberships.join(ROOM, "a")
    memberships.joined(ROOM, "a", AT)
    memberships.join_failed(ROOM, "a")
    assert memberships.members(ROOM) == ["a"]


def test_leave_ends_an_older_membership_only(memberships: Memberships) -> None:
    """A leave is older than a join that came after it, whenever it is read."""
    join(memberships, "a", "b")
    memberships.leave(ROOM, "a", BEFORE)
    assert memberships.members(ROOM) == ["a", "b"]
    memberships.leave(ROOM, "a", AFTER)
    assert memberships.members(ROOM) == ["b"]


def test_leave_read_before_the_reply_of_the_join(memberships: Memberships) -> None:
    """A leave of the time after the join counts, also when it is read before the join's reply."""
    memberships.join(ROOM, "a")
    memberships.leave(ROOM, "a", AFTER)
    memberships.joined(ROOM, "a", AT)
    assert memberships.members(ROOM) == []
    memberships.join(ROOM, "b")
    memberships.leave(ROOM, "b", BEFORE)
    memberships.joined(ROOM, "b", AT)
    assert memberships.members(ROOM) == ["b"]


def test_leave_of_no_member_does_nothing(memberships: Memberships) -> None:
    """A process is told of channels, too, that it does not have in the group."""
    memberships.leave(ROOM, "a", AFTER)
    join(memberships, "b")
    memberships.leave(ROOM, "a", AFTER)
    assert memberships.members(ROOM) == ["b"]


def test_membership_expires(memberships: Memberships, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member is out `group_expiry` seconds after its own latest join."""
    join(memberships, "a", "b")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 59)
    join(memberships, "b")
    assert memberships.members(ROOM) == ["a", "b"]
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert memberships.members(ROOM) == ["b"]
    monkeypatch.setattr(time, "monotonic", lambda: now + 120)
    assert memberships.members(ROOM) == []


def test_gone_channel_leaves_all_its_groups(memberships: Memberships) -> None:
    """A consumer that has gone is in no group any more, and others stay."""
    join(memberships, "a", "b")
    join(memberships, "a", virtual=HALL)
    assert sorted(memberships.gone("a")) == sorted([ROOM, HALL])
    assert memberships.members(ROOM) == ["b"]
    assert memberships.members(HALL) == []
    assert memberships.gone("a") == []


def test_virtual_channel_is_forgotten_when_empty(memberships: Memberships) -> None:
    """It stays while somebody is there; then its latest score tells what may be removed."""
    join(memberships, "a", at=b"2")
    memberships.join(ROOM, "b")
    memberships.joined(ROOM, "b", b"10")
    assert forget(memberships, ROOM) == (False, None)
    memberships.gone("a")
    memberships.gone("b")
    assert forget(memberships, ROOM) == (True, b"10")
    assert ROOM not in memberships
    assert forget(memberships, ROOM) == (True, None)


def test_virtual_channel_with_a_join_under_way_is_not_forgotten(memberships: Memberships) -> None:
    """A join whose reply has not come keeps the virtual channel in its group."""
    memberships.join(ROOM, "a")
    assert forget(memberships, ROOM) == (False, None)


def test_scores_are_compared_as_numbers(memberships: Memberships) -> None:
    """Replies may come out of order; the highest score is what the server has."""
    memberships.join(ROOM, "a")
    memberships.join(ROOM, "b")
    memberships.joined(ROOM, "a", b"10")
    memberships.joined(ROOM, "b", b"9")
    memberships.gone("a")
    memberships.gone("b")
    assert forget(memberships, ROOM) == (True, b"10")


def test_written_again_to_a_server_whose_clock_is_behind(memberships: Memberships) -> None:
    """A leave of the new server's time ends a membership of the old server's."""
    join(memberships, "a", "b", at=b"1000")
    memberships.written(ROOM, b"500")
    memberships.leave(ROOM, "a", 501.0)
    assert memberships.members(ROOM) == ["b"]
    memberships.gone("b")
    assert forget(memberships, ROOM) == (True, b"500")


def test_written_again_leaves_later_leaves_their_effect(memberships: Memberships) -> None:
    """A membership does not become younger by being written again."""
    join(memberships, "a", at=b"1000")
    memberships.written(ROOM, b"2000")
    memberships.leave(ROOM, "a", 1500.0)
    assert memberships.members(ROOM) == []


def test_clear_ends_all(memberships: Memberships) -> None:
    """After a flush nobody is a member, and late replies change nothing."""
    join(memberships, "a")
    memberships.join(ROOM, "b")
    memberships.clear()
    memberships.joined(ROOM, "b", AT)
    memberships.join_failed(ROOM, "b")
    memberships.written(ROOM, AT)
    assert memberships.members(ROOM) == []
    assert memberships.virtuals() == []


def test_nothing_is_left_of_members_that_have_gone(memberships: Memberships) -> None:
    """Memory does not grow with the members that a process once had."""
    for number in range(100):
        join(memberships, f"channel{number}")
        memberships.join(ROOM, f"failed{number}")
        memberships.join_failed(ROOM, f"failed{number}")
    for number in range(0, 100, 2):
        memberships.gone(f"channel{number}")
        memberships.leave(ROOM, f"channel{number + 1}", AFTER)
    assert forget(memberships, ROOM) == (True, AT)
    assert (memberships._rooms, memberships._rooms_of) == ({}, {})


def test_writes_are_told_in_order_of_their_latest(memberships: Memberships) -> None:
    """A look asks for what was written since the one before; joins under way are not."""
    join(memberships, "a")
    first, mark = memberships.written_since(0)
    assert first == [ROOM]
    join(memberships, "b", virtual=HALL)
    memberships.join("specific.0!:g:other", "c")
    assert memberships.written_since(mark)[0] == [HALL]
    memberships.written(ROOM, AT)
    later, mark = memberships.written_since(mark)
    assert sorted(later) == sorted([ROOM, HALL])
    assert memberships.written_since(mark) == ([], mark)
    memberships.gone("b")
    memberships.forget_if_empty(HALL)
    assert memberships.written_since(0)[0] == [ROOM]
    memberships.clear()
    assert memberships.written_since(0)[0] == []


def test_addresses_of_virtual_channels(memberships: Memberships) -> None:
    """An address is there as long as it has a virtual channel."""
    assert memberships.addresses() == []
    join(memberships, "a")
    join(memberships, "a", virtual=HALL)
    join(memberships, "b", virtual="other.0!:g:room")
    assert memberships.addresses() == ["specific.0!", "other.0!"]
    memberships.gone("a")
    memberships.forget_if_empty(ROOM)
    assert memberships.addresses() == ["specific.0!", "other.0!"]
    memberships.forget_if_empty(HALL)
    assert memberships.addresses() == ["other.0!"]
    assert len(memberships) == 1
