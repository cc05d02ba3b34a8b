"""Who hears what in an event loop; without a server."""

from __future__ import annotations

import pytest

from channels_redis_pubsub.protocol.hub import Audience


@pytest.fixture
def audience() -> Audience:
    """Give an audience of two channels."""
    made = Audience()
    made.open("a")
    made.open("b")
    return made


def join(audience: Audience, topic: bytes, channel: str) -> None:
    """Join, as if the server had confirmed it at once."""
    audience.joined(topic, channel, audience.join(topic, channel))


def test_channel_hears_itself(audience: Audience) -> None:
    """An open channel hears its own topic, and nothing else."""
    assert list(audience.hearers(b"a")) == ["a"]
    assert sorted(audience.topics()) == [b"a", b"b"]
    assert not audience.is_heard(b"room")


def test_members_hear_the_group_from_the_call_on(audience: Audience) -> None:
    """A channel that joins gets what comes before the confirmation is seen."""
    audience.join(b"room", "a")
    assert list(audience.hearers(b"room")) == ["a"]


def test_failed_join_is_undone(audience: Audience) -> None:
    """A call that fails leaves no membership, and none is taken from a member."""
    call = audience.join(b"room", "a")
    audience.join_failed(b"room", "a", call)
    assert not audience.is_heard(b"room")
    join(audience, b"room", "a")
    again = audience.join(b"room", "a")
    audience.join_failed(b"room", "a", again)
    assert list(audience.hearers(b"room")) == ["a"]


def test_one_of_two_calls_fails(audience: Audience) -> None:
    """Two calls for one membership: the one that succeeds counts, in whichever order."""
    first, second = audience.join(b"room", "a"), audience.join(b"room", "a")
    audience.join_failed(b"room", "a", first)
    assert audience.is_heard(b"room")
    audience.joined(b"room", "a", second)
    third = audience.join(b"room", "a")
    audience.join_failed(b"room", "a", third)
    assert audience.is_heard(b"room")


def test_leaving_wins_over_an_earlier_join(audience: Audience) -> None:
    """A confirmation that comes after the channel has left does not bring it back."""
    call = audience.join(b"room", "a")
    audience.leave(b"room", "a")
    audience.joined(b"room", "a", call)
    assert not audience.is_heard(b"room")


def test_closing_ends_all(audience: Audience) -> None:
    """A closed channel hears nothing; what it alone heard, nobody does."""
    join(audience, b"room", "a")
    join(audience, b"room", "b")
    call = audience.join(b"late", "a")
    assert audience.close("a") == {b"a", b"room", b"late"}
    audience.joined(b"late", "a", call)
    assert audience.topics() == [b"b", b"room"]
    assert audience.close("a") == set()


def test_channel_that_is_not_open_joins_nothing(audience: Audience) -> None:
    """A group without a channel behind it would be heard for ever."""
    join(audience, b"room", "gone")
    audience.leave(b"room", "gone")
    assert not audience.is_heard(b"room")


def test_leaving_all_groups(audience: Audience) -> None:
    """Afterwards each channel hears itself, and can join again."""
    join(audience, b"room", "a")
    join(audience, b"hall", "b")
    assert sorted(audience.leave_groups()) == [b"hall", b"room"]
    assert sorted(audience.topics()) == [b"a", b"b"]
    assert audience.close("a") == {b"a"}
    join(audience, b"hall", "b")
    assert list(audience.hearers(b"hall")) == ["b"]


def test_only_open_channels_are_told(audience: Audience) -> None:
    """Who was told of an outage and has gone meanwhile is not told of its end."""
    audience.close("b")
    audience.open("new")
    assert audience.still_open(["a", "b"]) == ["a"]
