"""Which `receive` calls get what a receiver took from a general channel's key."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from channels_redis_queue import RedisChannelLayer
from channels_redis_queue._shared.mailbox import Mailboxes
from channels_redis_queue.claims import Claim, Ledger
from channels_redis_queue.delivery import ToWorkers


class Worker:
    """The `receive` calls of one process, and what gives them messages."""

    def __init__(self) -> None:
        mailboxes = Mailboxes(2**20, lambda *_: None)
        self.box = mailboxes.open("jobs")
        settings = RedisChannelLayer(random_prefix_length=0)._process.get()._settings
        self.delivery = ToWorkers("jobs", settings, mailboxes)
        self.ledger = Ledger(remembered=20)

    def deliver(self, *numbers: int) -> None:
        """Deliver numbered messages, of which the number is the score as well."""
        for number in numbers:
            claim = Claim(msgpack.packb({"number": number}), b"%d" % number)
            self.delivery.message(claim, self.ledger, 60)

    def take(self) -> dict[str, Any] | None:
        """Return what a receiver finds."""
        parcel = self.box.take()
        return None if parcel is None else parcel.open()


@pytest.fixture
async def worker() -> Worker:
    """Give a worker in which nobody waits."""
    return Worker()


async def test_stays_claimed_until_it_was_opened(worker: Worker) -> None:
    """A message in the mailbox is not acknowledged yet, and not given back."""
    waiter = worker.box.queue_up()
    assert worker.delivery.wanted() == 1
    worker.deliver(1)
    assert waiter.done()
    assert worker.ledger.due() == []
    assert worker.take() == {"number": 1}
    assert worker.ledger.due() == [b"1"]
    assert worker.ledger.returns() == []


async def test_everyone_who_waits_is_given_one(worker: Worker) -> None:
    """What is there for several receivers is no overflow, however small the capacity is."""
    waiters = [worker.box.queue_up() for _ in range(2)]
    assert worker.delivery.wanted() == 2
    worker.deliver(1, 2)
    assert all(waiter.done() for waiter in waiters)
    assert [worker.take(), worker.take()] == [{"number": 1}, {"number": 2}]
    assert worker.ledger.returns() == []


async def test_nothing_is_taken_for_nobody(worker: Worker) -> None:
    """Without receivers nothing is wanted; what comes all the same goes back, unread."""
    assert worker.delivery.wanted() == 0
    worker.deliver(1)
    worker.delivery.message(Claim(b"garbage", b"2"), worker.ledger, 60)
    assert worker.ledger.returns() == [b"1", b"2"]
    assert worker.ledger.due() == []


async def test_more_than_wanted_goes_back(worker: Worker) -> None:
    """Other workers get what this one has no receiver for."""
    worker.box.queue_up()
    worker.delivery.wanted()
    worker.deliver(1, 2)
    assert worker.take() == {"number": 1}
    assert worker.ledger.returns() == [b"2"]


async def test_takes_ahead_for_one_who_comes_back_at_once(worker: Worker) -> None:
    """The quicker a receiver comes back, the more is taken ahead, up to a bound."""
    seen = []
    for _ in range(5):
        worker.delivery.came_back()
        waiter = worker.box.queue_up()
        seen.append(worker.delivery.wanted() - 1)
        worker.box.withdraw(waiter)
    assert seen == [1, 3, 7, 7, 7]


async def test_what_was_taken_ahead_goes_back(worker: Worker) -> None:
    """It goes to other workers when the receiver does not come back; then one is enough again."""
    worker.delivery.came_back()
    worker.delivery.came_back()
    worker.box.queue_up()
    assert worker.delivery.wanted() == 4
    worker.deliver(1, 2, 3, 4)
    assert worker.take() == {"number": 1}
    worker.delivery.stayed_away()
    assert sorted(worker.ledger.returns()) == [b"2", b"3", b"4"]
    assert worker.take() is None
    worker.box.queue_up()
    assert worker.delivery.wanted() == 1


async def test_garbage_is_for_nobody(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """An unreadable message is acknowledged and logged; the receiver goes on waiting."""
    waiter = worker.box.queue_up()
    worker.delivery.wanted()
    worker.delivery.message(Claim(b"\xc1", b"7"), worker.ledger, 60)
    assert not waiter.done()
    assert worker.ledger.due() == [b"7"]
    [record] = caplog.records
    assert "jobs" in record.getMessage()


async def test_leave_says_nothing_to_it(worker: Worker) -> None:
    """A general channel is in a group by its plain name only."""
    worker.delivery.leave(b"room\0jobs\x001")
    assert worker.ledger.due() == []
