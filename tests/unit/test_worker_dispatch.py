"""Which `receive` calls get what a receiver took from a general channel's key."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from typing import Any

import msgpack
import pytest

from channels_redis_queue import RedisChannelLayer
from channels_redis_queue.protocol.acks import AckTracker, Claim
from channels_redis_queue.protocol.dispatch import UnackedMessage, WorkerDispatcher


class Worker:
    """The `receive` calls of one process, and what gives them messages."""

    def __init__(self) -> None:
        settings = RedisChannelLayer(random_prefix_length=0)._broker.get()._settings
        self.wakes = 0
        self.delivery = WorkerDispatcher("jobs", settings, self._wake)
        self.acks = AckTracker(remembered=20)

    def _wake(self, _channel: str) -> None:
        self.wakes += 1

    def deliver(self, *numbers: int, lifetime: float = 60) -> None:
        """Deliver numbered messages, of which the number is the score as well."""
        for number in numbers:
            claim = Claim(msgpack.packb({"number": number}), b"%d" % number)
            self.delivery.message(claim, self.acks, lifetime)

    def take(self) -> dict[str, Any] | None:
        """Return what a receiver finds that has been taken ahead."""
        taken = self.delivery.take()
        return None if taken is None else taken.open()


def opened(waiter: asyncio.Future[UnackedMessage | None]) -> dict[str, Any] | None:
    """Return the message that a waiter was given."""
    taken = waiter.result()
    return None if taken is None else taken.open()


@pytest.fixture
async def worker() -> Worker:
    """Give a worker in which nobody waits."""
    return Worker()


async def test_stays_claimed_until_it_was_opened(worker: Worker) -> None:
    """A message that was handed to a waiter is not acknowledged yet, and not given back."""
    waiter = worker.delivery.queue_up()
    assert worker.delivery.wanted() == 1
    worker.deliver(1)
    assert waiter.done()
    assert worker.acks.due() == []
    assert opened(waiter) == {"number": 1}
    assert worker.acks.due() == [b"1"]
    assert worker.acks.returns() == []


async def test_everyone_who_waits_is_given_one(worker: Worker) -> None:
    """Messages go to receivers in the order in which these began to wait."""
    waiters = [worker.delivery.queue_up() for _ in range(2)]
    assert worker.delivery.wanted() == 2
    worker.deliver(1, 2)
    assert [opened(waiter) for waiter in waiters] == [{"number": 1}, {"number": 2}]
    assert worker.acks.returns() == []


async def test_nothing_is_taken_for_nobody(worker: Worker) -> None:
    """Without receivers nothing is wanted; what comes all the same goes back, unread."""
    assert worker.delivery.wanted() == 0
    worker.deliver(1)
    worker.delivery.message(Claim(b"garbage", b"2"), worker.acks, 60)
    assert worker.acks.returns() == [b"1", b"2"]
    assert worker.acks.due() == []


async def test_more_than_wanted_goes_back(worker: Worker) -> None:
    """Other workers get what this one has no receiver for."""
    waiter = worker.delivery.queue_up()
    worker.deliver(1, 2)
    assert opened(waiter) == {"number": 1}
    assert worker.acks.returns() == [b"2"]


async def test_message_of_one_who_was_cancelled_goes_to_the_next(worker: Worker) -> None:
    """It was given the message, and cancelled in the same turn: another one waits for it."""
    cancelled, other = worker.delivery.queue_up(), worker.delivery.queue_up()
    worker.deliver(1)
    worker.delivery.withdraw(cancelled)
    assert opened(other) == {"number": 1}
    assert worker.acks.returns() == []


async def test_message_of_the_last_who_was_cancelled_goes_back(worker: Worker) -> None:
    """No other call waits here; the receiver is told."""
    cancelled = worker.delivery.queue_up()
    worker.deliver(1)
    worker.delivery.withdraw(cancelled)
    assert worker.acks.returns() == [b"1"]
    assert worker.wakes == 1


async def test_message_of_one_who_was_cancelled_keeps_its_place(worker: Worker) -> None:
    """It is older than what was taken ahead with it."""
    worker.delivery.came_back()
    cancelled = worker.delivery.queue_up()
    worker.deliver(1, 2)
    worker.delivery.withdraw(cancelled)
    assert [worker.take(), worker.take()] == [{"number": 1}, {"number": 2}]


async def test_one_who_was_cancelled_wants_nothing(worker: Worker) -> None:
    """A waiter that was withdrawn is given nothing."""
    cancelled, other = worker.delivery.queue_up(), worker.delivery.queue_up()
    worker.delivery.withdraw(cancelled)
    assert worker.delivery.wanted() == 1
    worker.deliver(1)
    assert cancelled.cancelled()
    assert opened(other) == {"number": 1}


async def test_message_that_expires_on_its_way(worker: Worker) -> None:
    """It is acknowledged all the same, so that no take returns it again."""
    waiter = worker.delivery.queue_up()
    worker.deliver(1, lifetime=0)
    assert opened(waiter) is None
    assert worker.acks.due() == [b"1"]


async def test_waiter_of_a_loop_that_has_stopped(worker: Worker) -> None:
    """It is passed over, and keeps its place until its loop runs again."""
    stopped = asyncio.new_event_loop()

    async def queue_up() -> asyncio.Future[UnackedMessage | None]:
        return worker.delivery.queue_up()

    first = await asyncio.to_thread(stopped.run_until_complete, queue_up())
    assert worker.delivery.wanted() == 1  # of a loop that may have begun to run
    second = worker.delivery.queue_up()
    assert worker.delivery.wanted() == 1
    worker.deliver(1)
    assert opened(second) == {"number": 1}
    assert worker.delivery.wanted() == 0

    async def wait() -> UnackedMessage | None:
        waiting.set()
        return await first

    waiting = threading.Event()
    running = asyncio.create_task(asyncio.to_thread(stopped.run_until_complete, wait()))
    await asyncio.to_thread(waiting.wait)
    assert worker.delivery.wanted() == 1
    worker.deliver(2)
    taken = await running
    assert taken is not None
    assert taken.open() == {"number": 2}
    stopped.close()


@pytest.mark.parametrize("is_given_one", [False, True])
def test_waiter_that_the_garbage_collector_ends(
    monkeypatch: pytest.MonkeyPatch, *, is_given_one: bool
) -> None:
    """No event loop runs by then, and its own is closed: what it was given goes to others."""
    errors: list[object] = []
    gc.collect()  # what other tests have left
    monkeypatch.setattr(sys, "unraisablehook", errors.append)
    loop, worker = asyncio.new_event_loop(), Worker()

    async def receive() -> None:
        waiter = worker.delivery.queue_up()
        try:
            await waiter
        except GeneratorExit:
            worker.delivery.withdraw(waiter)
            raise

    receiving = loop.create_task(receive())
    loop.run_until_complete(asyncio.sleep(0))
    if is_given_one:
        # And the loop stops before the task goes on.
        loop.call_soon(worker.deliver, 1)
        loop.call_soon(loop.stop)
        loop.run_forever()
    loop.close()
    del loop, receiving
    if not is_given_one:
        worker.deliver(1)
    gc.collect()
    assert not worker.delivery.wanted()
    worker.delivery.stayed_away()
    assert worker.acks.returns() == [b"1"]
    assert not errors


async def test_takes_ahead_for_one_who_comes_back_at_once(worker: Worker) -> None:
    """The quicker a receiver comes back, the more is taken ahead, up to a bound."""
    seen = []
    for _ in range(4):
        worker.delivery.came_back()
        waiter = worker.delivery.queue_up()
        seen.append(worker.delivery.wanted() - 1)
        worker.delivery.withdraw(waiter)
    assert seen == [1, 3, 5, 5]


async def test_what_was_taken_ahead_goes_back(worker: Worker) -> None:
    """It goes to other workers when the receiver does not come back; then one is enough again."""
    worker.delivery.came_back()
    worker.delivery.came_back()
    waiter = worker.delivery.queue_up()
    assert worker.delivery.wanted() == 4
    worker.deliver(1, 2, 3, 4)
    assert opened(waiter) == {"number": 1}
    assert worker.take() == {"number": 2}
    worker.delivery.stayed_away()
    assert sorted(worker.acks.returns()) == [b"3", b"4"]
    assert worker.take() is None
    worker.delivery.queue_up()
    assert worker.delivery.wanted() == 1


async def test_garbage_is_for_nobody(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """An unreadable message is acknowledged and logged; the receiver goes on waiting."""
    waiter = worker.delivery.queue_up()
    worker.delivery.message(Claim(b"\xc1", b"7"), worker.acks, 60)
    assert not waiter.done()
    assert worker.acks.due() == [b"7"]
    [record] = caplog.records
    assert "jobs" in record.getMessage()


async def test_leave_says_nothing_to_it(worker: Worker) -> None:
    """A general channel is in a group by its plain name only."""
    worker.delivery.leave(b"room\0jobs\x001")
    assert worker.acks.due() == []
