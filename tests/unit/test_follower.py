"""Followers of groups: their ends, and the positions that they give to new members."""

from __future__ import annotations

import asyncio
import gc
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from channels_redis_shared.concurrency import start_task
from channels_redis_shared.history.follower import Follower
from channels_redis_shared.history.followers import Followers
from channels_redis_shared.history.positions import HistoryEntry, Replay
from channels_redis_shared.ops.statistics import Counters

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

FIRST, SECOND, THIRD = "1-0.aaaaaaaa", "2-0.bbbbbbbb", "3-0.cccccccc"
ENTRIES = (HistoryEntry(SECOND, FIRST, b"second"), HistoryEntry(THIRD, SECOND, b"third"))


class Outlet:
    """Notes what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, object]] = []

    def deliver(self, entry: HistoryEntry, without: Collection[str]) -> None:
        """Note a message to all members but some."""
        self.calls.append((entry.data, without))

    def replay(self, entries: Sequence[HistoryEntry], channel: str) -> None:
        """Note messages to a new member."""
        self.calls += [(entry.data, channel) for entry in entries]

    def notify_gap(self, position: str) -> None:
        """Note a notice."""
        self.calls.append(("told", position))


@pytest.fixture
def outlet() -> Outlet:
    """Return an outlet that has delivered nothing."""
    return Outlet()


def test_forgotten_follower_delivers_nothing(outlet: Outlet) -> None:
    """A read that ends after the last member has left would repeat what later members have."""
    follower = Follower(outlet, Counters())
    assert follower.confirm_join(follower.begin_join("a"), Replay(FIRST), None, 0) == (FIRST, True)
    read = follower.begin_repair()
    assert read is not None
    follower.close()
    assert follower.repair(read, Replay(THIRD, ENTRIES)) is None
    assert outlet.calls == []


@pytest.mark.parametrize(
    ("since", "rewind", "position"),
    [(None, 0, THIRD), (None, 1, SECOND), (None, 2, FIRST), (FIRST, 0, FIRST), (THIRD, 0, THIRD)],
)
def test_position_is_before_what_is_replayed(
    outlet: Outlet, since: str | None, rewind: int, position: str
) -> None:
    """A channel that ends before it has received that can resume from there."""
    follower = Follower(outlet, Counters())
    join = follower.begin_join("a")
    replay = Replay(THIRD, ENTRIES, ENTRIES)
    assert follower.confirm_join(join, replay, since, rewind) == (position, True)


def test_read_of_the_first_join_before_an_outage(outlet: Outlet) -> None:
    """It may lack what was sent in the outage, so the one after the outage counts."""
    follower = Follower(outlet, Counters())
    join = follower.begin_join("a")
    read = follower.begin_repair()
    assert read is not None
    assert follower.repair(read, Replay(THIRD)) is None
    assert follower.confirm_join(join, Replay(FIRST), None, 0) is None
    assert follower.confirm_join(join, Replay(THIRD), None, 0) == (THIRD, True)


def test_first_join_that_fails_in_an_outage(outlet: Outlet) -> None:
    """Nothing is held for it any more when the connection is back."""
    follower = Follower(outlet, Counters())
    join = follower.begin_join("a")
    assert follower.begin_repair() is not None
    assert follower.cancel_join(join) is None
    assert follower.begin_repair() is None
    assert follower.on_message(ENTRIES[0]) is None
    assert outlet.calls == [(b"second", [])]


def test_next_join_of_a_member_that_fails(outlet: Outlet) -> None:
    """The member gets what was delivered to the others meanwhile."""
    follower = Follower(outlet, Counters())
    assert follower.confirm_join(follower.begin_join("a"), Replay(FIRST), None, 0) == (FIRST, True)
    earlier, join = follower.begin_join("b"), None
    for entry in ENTRIES:
        assert follower.on_message(entry) is None
        join = join or follower.begin_join("a")
    assert join is not None
    assert follower.cancel_join(join) is None
    assert outlet.calls[-1] == (b"third", "a")
    assert len(outlet.calls) == 3
    assert follower.confirm_join(earlier, Replay(THIRD, ENTRIES), None, 0) == (THIRD, True)


@pytest.mark.parametrize("confirmed", [True, False])
def test_two_joins_of_a_member(outlet: Outlet, *, confirmed: bool) -> None:
    """The second, which fails, does not repeat messages that the first has delivered."""
    follower = Follower(outlet, Counters())
    assert follower.confirm_join(follower.begin_join("a"), Replay(FIRST), None, 0) == (FIRST, True)
    joins = follower.begin_join("a"), follower.begin_join("a")
    assert follower.on_message(ENTRIES[0]) is None
    if confirmed:
        replay = Replay(SECOND, ENTRIES[:1])
        assert follower.confirm_join(joins[0], replay, FIRST, 0) == (FIRST, True)
    else:
        assert follower.cancel_join(joins[0]) is None
    assert follower.on_message(ENTRIES[1]) is None
    assert follower.cancel_join(joins[1]) is None
    replayed = [call for call in outlet.calls if call[1] == "a"]
    assert replayed == [(b"second", "a"), (b"third", "a")]


def test_position_of_a_member_that_joins_again(outlet: Outlet) -> None:
    """Messages that wait for the join have not been delivered to the member."""
    follower = Follower(outlet, Counters())
    assert follower.confirm_join(follower.begin_join("a"), Replay(FIRST), None, 0) == (FIRST, True)
    assert follower.position_of("a") == FIRST
    follower.begin_join("a")
    assert follower.on_message(ENTRIES[0]) is None
    assert follower.position_of("a") == FIRST


def test_read_that_the_garbage_collector_ends(outlet: Outlet) -> None:
    """It takes no lock: another thread may hold that, and wait for one that is held here."""
    lock = threading.RLock()
    settings: Any = SimpleNamespace(counters=Counters(), faults=None)

    async def never_read(*_: object) -> Replay:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    followers: Followers[str] = Followers(
        never_read, lambda _: outlet, start_task, settings, lock=lock
    )
    follower, join = followers.begin_join("group", "a")
    assert follower.confirm_join(join, Replay(FIRST), None, 0) == (FIRST, True)

    async def show_gap() -> None:
        followers.on_message("group", follower, ENTRIES[1])
        await asyncio.sleep(0)  # until it reads

    loop = asyncio.new_event_loop()
    loop.run_until_complete(show_gap())
    assert follower.is_repairing
    loop.close()
    del loop
    with lock:
        collecting = threading.Thread(target=gc.collect, daemon=True)
        collecting.start()
        collecting.join(10)
        assert not collecting.is_alive()
    assert not follower.is_repairing
