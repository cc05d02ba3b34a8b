"""The channels that messages of a process are dispatched to."""

from __future__ import annotations

import json
import math
from typing import Any

import msgpack
import pytest

from channels_redis_queue import RedisChannelLayer
from channels_redis_queue._shared.delivery.mailboxes import Mailboxes
from channels_redis_queue.keys import CHANNELS_FIELD, LEAVE_FIELD
from channels_redis_queue.protocol.dispatch import Envelope, ProcessDispatcher, WorkerDispatcher
from channels_redis_queue.protocol.inbox import AckTracker, Claim
from channels_redis_queue.protocol.local_groups import LocalGroups

ADDRESS = "specific.0c!"
ROOM = f"{ADDRESS}:g:room"


def claim(message: object, score: bytes = b"1") -> Claim:
    """A claim on a message without random bytes."""
    return Claim(msgpack.packb(message), score)


class Process:
    """The mailboxes and memberships of a process, and what puts messages into them."""

    def __init__(self) -> None:
        self.overflowed: list[tuple[str, int]] = []
        self.mailboxes = Mailboxes(2**20, lambda *lost: self.overflowed.append(lost))
        self.local_groups = LocalGroups(group_expiry=60)
        layer = RedisChannelLayer(capacity=3, random_prefix_length=0)
        settings = layer._brokers.get().settings
        followers = layer._brokers.get()._make_broker()._followers
        self.dispatcher = ProcessDispatcher(
            ADDRESS,
            settings,
            self.mailboxes,
            self.local_groups,
            followers,
        )
        self.acks = AckTracker(remembered=10)

    def join(self, *channels: str) -> None:
        """Let channels be members of the room."""
        for channel in channels:
            self.local_groups.begin_join(ROOM, channel)
            self.local_groups.confirm_join(ROOM, channel, b"100.5")

    def deliver(self, message: object, lifetime: float = 60) -> None:
        """Deliver what was taken as the only claim."""
        self.dispatcher.dispatch(claim(message), self.acks, lifetime)
        self.dispatcher.apply_leaves(math.inf)

    def take(self, channel: str) -> dict[str, Any] | None:
        """The next message in a channel's mailbox."""
        item = self.mailboxes.open(channel).take()
        return None if item is None else item.copy()


@pytest.fixture
def process() -> Process:
    """A process without channels."""
    return Process()


@pytest.mark.parametrize("names", ["\ud800", ["a", f"{ADDRESS}:g:\ud800"]], ids=ascii)
def test_name_that_no_command_can_hold(names: object) -> None:
    """JSON has surrogates; the removal of an empty group could not be written."""
    with pytest.raises(ValueError, match="names no channel"):
        Envelope(b"", json.loads, {CHANNELS_FIELD: names})
    assert Envelope(b"", json.loads, {CHANNELS_FIELD: "ä"}).names == ["ä"]


def test_leave(process: Process) -> None:
    """A leave ends the membership, and says when the group is empty."""
    process.join("a", "b")
    process.deliver({CHANNELS_FIELD: "a", LEAVE_FIELD: "room 100.6"})
    assert process.local_groups.members(ROOM) == ["b"]
    process.deliver({CHANNELS_FIELD: "b", LEAVE_FIELD: "room 100.4"})  # of an earlier membership
    assert process.local_groups.members(ROOM) == ["b"]
    process.deliver({CHANNELS_FIELD: "b", LEAVE_FIELD: "room 100.6"})
    assert process.local_groups.take_removed_members() == {ROOM: {"a", "b"}}
    process.local_groups.forget_if_empty(ROOM)
    process.deliver({CHANNELS_FIELD: "b", LEAVE_FIELD: "room 100.6"})
    assert process.local_groups.take_removed_members() == {}


async def test_job_that_expires_on_its_way() -> None:
    """A call that comes too late does not get it; it is acknowledged, so that no take brings it."""
    settings = RedisChannelLayer(random_prefix_length=0)._brokers.get().settings
    worker, acks = WorkerDispatcher("jobs", settings), AckTracker(remembered=10)
    worker.dispatch(claim({"n": 1}), acks, 0)
    taken = worker.take()
    assert taken is not None
    assert not taken.acknowledge()
    assert acks.pending_acks() == [b"1"]


async def test_each_reader_requeues_its_own() -> None:
    """Messages that another host's reader has taken stay in the mailbox, in order."""
    settings = RedisChannelLayer(random_prefix_length=0)._brokers.get().settings
    worker = WorkerDispatcher("jobs", settings)
    readers = [AckTracker(remembered=10), AckTracker(remembered=10)]
    for number in range(4):
        taken, acks = claim({"n": number}, b"%d" % number), readers[number % 2]
        assert acks.admit(taken)
        worker.dispatch(taken, acks, 60)
    worker.on_receive_stopped(readers[0])
    assert [acks.requeues for acks in readers] == [[b"0", b"2"], []]
    kept = [worker.take() for _ in range(3)]
    assert [one and one.copy() for one in kept] == [{"n": 1}, {"n": 3}, None]
