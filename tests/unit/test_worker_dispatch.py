"""The `receive` calls that messages of a general channel are dispatched to."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import Any

import msgpack
import pytest

from channels_redis_queue import RedisChannelLayer
from channels_redis_queue.protocol.dispatch import UnackedMessage, WorkerDispatcher
from channels_redis_queue.protocol.inbox import AckTracker, Claim


class Worker:
    """The `receive` calls of one process, and what gives them messages."""

    def __init__(self) -> None:
        settings = RedisChannelLayer(random_prefix_length=0)._brokers.get().settings
        self.wakes = 0
        self.dispatcher = WorkerDispatcher("jobs", settings, self._wake)
        self.acks = AckTracker(remembered=20)

    def _wake(self, _channel: str) -> None:
        self.wakes += 1

    def deliver(self, *numbers: int, lifetime: float = 60) -> None:
        """Deliver numbered messages, of which the number is the score as well."""
        for number in numbers:
            claim = Claim(msgpack.packb({"number": number}), b"%d" % number)
            self.dispatcher.dispatch(claim, self.acks, lifetime)

    def take(self) -> dict[str, Any] | None:
        """Return a prefetched message."""
        taken = self.dispatcher.take()
        return None if taken is None else taken.acknowledge()


def opened(waiter: asyncio.Future[UnackedMessage | None]) -> dict[str, Any] | None:
    """Return the message that a waiter was given."""
    taken = waiter.result()
    return None if taken is None else taken.acknowledge()


@pytest.fixture
async def worker() -> Worker:
    """Return a worker without waiting calls."""
    return Worker()


async def test_stays_claimed_until_it_was_opened(worker: Worker) -> None:
    """A message that was handed to a waiter is not acknowledged yet, and not given back."""
    waiter = worker.dispatcher.add_waiter()
    assert worker.dispatcher.prefetch_count() == 1
    worker.deliver(1)
    assert waiter.done()
    assert worker.acks.pending_acks() == []
    assert opened(waiter) == {"number": 1}
    assert worker.acks.pending_acks() == [b"1"]
    assert worker.acks.pending_requeues() == []


async def test_nothing_is_taken_without_a_waiting_call(worker: Worker) -> None:
    """Without receivers nothing is prefetched; messages that still arrive are requeued unread."""
    assert worker.dispatcher.prefetch_count() == 0
    worker.deliver(1)
    worker.dispatcher.dispatch(Claim(b"garbage", b"2"), worker.acks, 60)
    assert worker.acks.pending_requeues() == [b"1", b"2"]
    assert worker.acks.pending_acks() == []


async def test_message_of_one_who_was_cancelled_goes_to_the_next(worker: Worker) -> None:
    """It was given the message, and cancelled in the same turn: another one waits for it."""
    cancelled, other = worker.dispatcher.add_waiter(), worker.dispatcher.add_waiter()
    worker.deliver(1)
    worker.dispatcher.remove_waiter(cancelled)
    assert opened(other) == {"number": 1}
    assert worker.acks.pending_requeues() == []


async def test_message_of_the_last_who_was_cancelled_goes_back(worker: Worker) -> None:
    """No other call waits here; the receiver is notified."""
    cancelled = worker.dispatcher.add_waiter()
    worker.deliver(1)
    worker.dispatcher.remove_waiter(cancelled)
    assert worker.acks.pending_requeues() == [b"1"]
    assert worker.wakes == 1


async def test_message_of_one_who_was_cancelled_keeps_its_place(worker: Worker) -> None:
    """It is older than what was prefetched with it."""
    worker.dispatcher.on_receive_resumed()
    cancelled = worker.dispatcher.add_waiter()
    worker.deliver(1, 2)
    worker.dispatcher.remove_waiter(cancelled)
    assert [worker.take(), worker.take()] == [{"number": 1}, {"number": 2}]


async def test_message_that_expires_on_its_way(worker: Worker) -> None:
    """It is acknowledged too, so that no take returns it again."""
    waiter = worker.dispatcher.add_waiter()
    worker.deliver(1, lifetime=0)
    assert opened(waiter) is None
    assert worker.acks.pending_acks() == [b"1"]


@pytest.mark.parametrize("is_given_one", [False, True])
def test_waiter_that_the_garbage_collector_ends(
    monkeypatch: pytest.MonkeyPatch, *, is_given_one: bool
) -> None:
    """Its event loop is closed by then: what it was given is delivered again."""
    errors: list[object] = []
    gc.collect()  # what other tests have left
    monkeypatch.setattr(sys, "unraisablehook", errors.append)
    loop, worker = asyncio.new_event_loop(), Worker()

    async def receive() -> None:
        waiter = worker.dispatcher.add_waiter()
        try:
            await waiter
        except GeneratorExit:
            worker.dispatcher.remove_waiter(waiter)
            raise

    receiving = loop.create_task(receive())
    loop.run_until_complete(asyncio.sleep(0))
    if is_given_one:
        # And the loop stops before the task goes on.
        loop.call_soon(worker.deliver, 1)
        loop.call_soon(loop.stop)
        loop.run_forever()
    loop.close()
    worker.dispatcher.abandon()
    worker.acks.forget_delivered()
    del loop, receiving
    gc.collect()
    assert not worker.dispatcher.prefetch_count()
    assert not worker.acks.pending_requeues()
    worker.deliver(1)
    assert worker.acks.pending_requeues() == [b"1"]
    assert not errors


async def test_prefetches_for_one_who_comes_back_at_once(worker: Worker) -> None:
    """The more often a receiver comes back, the more is prefetched, up to a bound."""
    seen = []
    for _ in range(4):
        worker.dispatcher.on_receive_resumed()
        waiter = worker.dispatcher.add_waiter()
        seen.append(worker.dispatcher.prefetch_count() - 1)
        worker.dispatcher.remove_waiter(waiter)
    assert seen == [1, 3, 5, 5]


async def test_prefetched_messages_go_back(worker: Worker) -> None:
    """It goes to other workers when the receiver does not come back; then one is enough again."""
    worker.dispatcher.on_receive_resumed()
    worker.dispatcher.on_receive_resumed()
    waiter = worker.dispatcher.add_waiter()
    assert worker.dispatcher.prefetch_count() == 4
    worker.deliver(1, 2, 3, 4)
    assert opened(waiter) == {"number": 1}
    assert worker.take() == {"number": 2}
    worker.dispatcher.on_receive_stopped()
    assert sorted(worker.acks.pending_requeues()) == [b"3", b"4"]
    assert worker.take() is None
    worker.dispatcher.add_waiter()
    assert worker.dispatcher.prefetch_count() == 1


async def test_garbage_is_dropped(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """An unreadable message is acknowledged and logged; the receiver goes on waiting."""
    waiter = worker.dispatcher.add_waiter()
    worker.dispatcher.dispatch(Claim(b"\xc1", b"7"), worker.acks, 60)
    assert not waiter.done()
    assert worker.acks.pending_acks() == [b"7"]
    [record] = caplog.records
    assert "jobs" in record.getMessage()
