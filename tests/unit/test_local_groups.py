"""The channels of a process that get a group's message."""

from __future__ import annotations

import time

import pytest

from channels_redis_queue.protocol.local_groups import LocalGroups

ROOM = "specific.0!:g:room"
HALL = "specific.0!:g:hall"
AT = b"1700000000.5"  # a server's time
AFTER = 1700000000.75


@pytest.fixture
def local_groups() -> LocalGroups:
    """Return the empty memberships of a process."""
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
