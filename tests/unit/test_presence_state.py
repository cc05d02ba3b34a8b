"""Presence in a process: what happens faster than a test of pages could see."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from channels_redis_shared.presence.state import Change, Diff, LocalPresence

if TYPE_CHECKING:
    from collections.abc import Callable

GROUP = "room"


def test_back_before_the_leave_is_written() -> None:
    """A person who comes back while Redis forgets the person stays, with the new channel alone."""
    timers: list[Callable[[], None]] = []

    def call_later(_: float, leave: Callable[[], None]) -> Any:
        timers.append(leave)
        return SimpleNamespace(cancel=timers.clear)

    people = LocalPresence(call_later, lambda: None)
    people.track(GROUP, "a", "ann", "1", 15)
    people.untrack(GROUP, "a")
    timers[0]()
    people.take_unwritten(1)
    people.track(GROUP, "b", "ann", "1", 15)
    people.removed(GROUP, "ann")
    assert people.find(GROUP, "ann") is not None
    assert people.channels() == ["b"]


def test_latest_change_counts() -> None:
    """A diff has one change for a person, the latest, in whatever order they are added."""
    diff = Diff()
    diff.add("ann", Change(["1"], 2, joined=True))
    diff.add("ann", Change(["1"], 1, joined=False))
    assert diff["ann"].joined
    diff.add("ann", Change(["1"], 3, joined=False))
    diff.add("bob", Change(["1"], 4, joined=True))
    message = diff.message(GROUP, ["ann", "bob"])
    assert (message["joins"], message["leaves"]) == ({"bob": [1]}, {"ann": [1]})
    assert message["at"] == {"ann": 3, "bob": 4}
