"""Names in messages, and the dispatch of jobs."""

from __future__ import annotations

import json

import msgpack
import pytest

from channels_redis_queue import RedisChannelLayer
from channels_redis_queue.keys import CHANNELS_FIELD
from channels_redis_queue.protocol.dispatch import Envelope, WorkerDispatcher
from channels_redis_queue.protocol.inbox import AckTracker, Claim

ADDRESS = "specific.0c!"


def claim(message: object, score: bytes = b"1") -> Claim:
    """A claim on a message without random bytes."""
    return Claim(msgpack.packb(message), score)


@pytest.mark.parametrize("names", ["\ud800", ["a", f"{ADDRESS}:g:\ud800"]], ids=ascii)
def test_name_that_no_command_can_hold(names: object) -> None:
    """JSON has surrogates; the removal of an empty group could not be written."""
    with pytest.raises(ValueError, match="names no channel"):
        Envelope(b"", json.loads, {CHANNELS_FIELD: names})
    assert Envelope(b"", json.loads, {CHANNELS_FIELD: "ä"}).names == ["ä"]


async def test_members_need_messages() -> None:
    """An address is in use while a channel of it is in a group, even if none has a mailbox."""
    broker = RedisChannelLayer()._brokers.get().get()
    broker.local_groups.begin_join(f"{ADDRESS}:g:room", f"{ADDRESS}a")
    assert not broker._dispatcher(ADDRESS).is_unused()
    assert broker._dispatcher("other.0c!").is_unused()


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
