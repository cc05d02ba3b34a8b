"""The `receive` calls that messages of a general channel are dispatched to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from channels_redis_queue import RedisChannelLayer
from channels_redis_queue.protocol.dispatch import WorkerDispatcher
from channels_redis_queue.protocol.inbox import AckTracker, Claim

if TYPE_CHECKING:
    import asyncio


class Worker:
    """The `receive` calls of one process, and what gives them messages."""

    def __init__(self) -> None:
        settings = RedisChannelLayer(random_prefix_length=0)._brokers.get().settings
        self.dispatcher = WorkerDispatcher("jobs", settings)
        self.acks = AckTracker(remembered=20)

    def wait(self) -> asyncio.Future[None]:
        """Begin to wait for a message."""
        return self.dispatcher.mailbox.add_waiter()

    def deliver(self, *numbers: int, lifetime: float = 60) -> None:
        """Deliver numbered messages, of which the number is the score as well."""
        for number in numbers:
            claim = Claim(msgpack.packb({"number": number}), b"%d" % number)
            self.dispatcher.dispatch(claim, self.acks, lifetime)

    def take(self) -> dict[str, Any] | None:
        """Return the next message as a call does; None if there is none, or it has expired."""
        taken = self.dispatcher.take()
        return taken.copy() if taken is not None and taken.acknowledge() else None


@pytest.fixture
async def worker() -> Worker:
    """Return a worker without waiting calls."""
    return Worker()


async def test_stays_claimed_until_it_was_taken(worker: Worker) -> None:
    """A message that has woken a call is not acknowledged yet, and not put back."""
    waiter = worker.wait()
    assert worker.dispatcher.prefetch_count() == 1
    worker.deliver(1)
    assert waiter.done()
    assert worker.acks.pending_acks() == []
    assert worker.take() == {"number": 1}
    assert worker.acks.pending_acks() == [b"1"]
    assert worker.acks.pending_requeues() == []


async def test_nothing_is_taken_without_a_waiting_call(worker: Worker) -> None:
    """Without receivers nothing is prefetched; messages that still arrive go back."""
    assert worker.dispatcher.prefetch_count() == 0
    worker.deliver(1, 2)
    worker.dispatcher.on_receive_stopped()
    assert worker.acks.pending_requeues() == [b"1", b"2"]
    assert worker.acks.pending_acks() == []


async def test_message_of_one_who_was_cancelled_goes_to_the_next(worker: Worker) -> None:
    """It was woken, and cancelled in the same turn: another one waits, who is woken instead."""
    cancelled, other = worker.wait(), worker.wait()
    worker.deliver(1)
    worker.dispatcher.mailbox.remove_waiter(cancelled)
    assert other.done()
    assert worker.acks.pending_requeues() == []


async def test_message_that_expires_on_its_way(worker: Worker) -> None:
    """It is acknowledged too, so that no take returns it again."""
    worker.deliver(1, lifetime=0)
    assert worker.take() is None
    assert worker.acks.pending_acks() == [b"1"]


async def test_loop_that_was_closed(worker: Worker) -> None:
    """A message that no call has taken is delivered again."""
    worker.wait()
    worker.deliver(1)
    worker.dispatcher.abandon()
    worker.acks.forget_delivered()
    assert worker.dispatcher.prefetch_count() == 0
    assert worker.take() is None
    assert worker.acks.admit(Claim(msgpack.packb({"number": 1}), b"1"))


async def test_prefetches_for_one_who_comes_back_at_once(worker: Worker) -> None:
    """The more often a receiver comes back, the more is prefetched, up to a bound."""
    seen = []
    for _ in range(4):
        worker.dispatcher.on_receive_resumed()
        waiter = worker.wait()
        seen.append(worker.dispatcher.prefetch_count() - 1)
        worker.dispatcher.mailbox.remove_waiter(waiter)
    assert seen == [1, 3, 5, 5]


async def test_prefetched_messages_go_back(worker: Worker) -> None:
    """It goes to other workers when the receiver does not come back; then one is enough again."""
    worker.dispatcher.on_receive_resumed()
    worker.dispatcher.on_receive_resumed()
    worker.wait()
    assert worker.dispatcher.prefetch_count() == 4
    worker.deliver(1, 2, 3, 4)
    assert [worker.take(), worker.take()] == [{"number": 1}, {"number": 2}]
    worker.dispatcher.on_receive_stopped()
    assert sorted(worker.acks.pending_requeues()) == [b"3", b"4"]
    assert worker.take() is None
    worker.wait()
    assert worker.dispatcher.prefetch_count() == 1


async def test_garbage_is_dropped(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """An unreadable message is acknowledged and logged; the receiver goes on waiting."""
    waiter = worker.wait()
    worker.dispatcher.dispatch(Claim(b"\xc1", b"7"), worker.acks, 60)
    assert not waiter.done()
    assert worker.acks.pending_acks() == [b"7"]
    [record] = caplog.records
    assert "jobs" in record.getMessage()
