"""Where a group's message goes."""

from __future__ import annotations

from channels_redis_queue.fan_out import Destination, destinations


def test_each_message_key_once() -> None:
    """All names of one message key go in one message, in their order."""
    names = ["a.1!x", "jobs", "a.2!y", "a.1!:g:room", "b.1!z", "a.1!w", "mails"]
    assert destinations(names) == [
        Destination("a.1!", ["a.1!x", "a.1!:g:room", "a.1!w"]),
        Destination("jobs", ["jobs"]),
        Destination("a.2!", ["a.2!y"]),
        Destination("b.1!", ["b.1!z"]),
        Destination("mails", ["mails"]),
    ]


def test_empty_group_has_none() -> None:
    """A group without members is sent nothing."""
    assert destinations([]) == []
