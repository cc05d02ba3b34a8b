"""The mailboxes of a process, on which consumers wait."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from channels_redis_shared.mailbox import Mailbox, Mailboxes

LATER = time.monotonic() + 3600


class Process:
    """Mailboxes with a capacity of 3."""

    def __init__(self) -> None:
        self.overflowed: list[str] = []
        self.boxes: Mailboxes[int] = Mailboxes(
            lambda _: 3, self.overflowed.append, exempt=lambda item: item < 0
        )

    def put(self, *items: int, channel: str = "a", deadline: float = LATER) -> None:
        """Put items into a mailbox."""
        for item in items:
            self.boxes.put([channel], item, deadline)

    def take_all(self, channel: str = "a") -> list[int]:
        """Take what is in a mailbox."""
        box = self.boxes.open(channel)
        return list(iter(box.take, None))


@pytest.fixture
def process() -> Process:
    """Give a process without mailboxes."""
    return Process()


async def take(box: Mailbox[int]) -> int:
    """Wait for an item and take it, as a receiver does."""
    while True:
        item = box.take()
        if item is not None:
            return item
        waiter = box.queue_up()
        try:
            await waiter
        except BaseException:
            box.withdraw(waiter)
            raise


def test_first_in_first_out(process: Process) -> None:
    """Items come out in the order in which they were put."""
    process.put(1, 2, 3)
    assert process.take_all() == [1, 2, 3]
    assert process.take_all("b") == []


def test_one_item_for_many_channels(process: Process) -> None:
    """Each channel gets it once."""
    process.boxes.put(["a", "b", "c"], 7, LATER)
    assert [process.take_all(channel) for channel in "abcd"] == [[7], [7], [7], []]


def test_full_mailbox_drops_its_oldest(process: Process) -> None:
    """Each drop is reported, and the other mailboxes are left alone."""
    process.put(0, channel="b")
    process.put(1, 2, 3, 4, 5)
    assert process.take_all() == [3, 4, 5]
    assert process.take_all("b") == [0]
    assert process.overflowed == ["a", "a"]


def test_exempt_items_are_not_dropped(process: Process) -> None:
    """The oldest of the others goes, and what stays keeps its order."""
    process.put(-1, 1, 2)
    process.put(-2, 3)
    assert process.take_all() == [-1, -2, 3]
    assert process.overflowed == ["a", "a"]


def test_expired_items_are_not_given_out(process: Process) -> None:
    """They take no part in anything, and go with the next sweep."""
    process.put(1, deadline=time.monotonic() - 1)
    process.put(2)
    assert process.take_all() == [2]
    process.put(3, deadline=time.monotonic() - 1)
    process.boxes.sweep(patience=60)
    assert len(process.boxes) == 0


async def test_waiters_are_woken_in_order(process: Process) -> None:
    """Who waited first gets the first item."""
    box = process.boxes.open("a")
    tasks = [asyncio.create_task(take(box)) for _ in range(3)]
    await asyncio.sleep(0)
    assert process.boxes.waiting("a") == 3
    process.put(1, 2, 3)
    assert process.boxes.waiting("a") == 0
    assert await asyncio.gather(*tasks) == [1, 2, 3]


async def test_cancelled_waiter_loses_nothing(process: Process) -> None:
    """One that was woken and cancelled in the same turn passes its turn on."""
    box = process.boxes.open("a")
    first, second = (asyncio.create_task(take(box)) for _ in range(2))
    await asyncio.sleep(0)
    process.put(1)
    first.cancel()
    assert await second == 1
    assert first.cancelled()
    third = asyncio.create_task(take(box))
    await asyncio.sleep(0)
    third.cancel()
    await asyncio.wait([third])
    process.put(2)
    assert process.take_all() == [2]
    assert process.boxes.waiting("a") == 0


async def test_item_that_came_before_the_waiter(process: Process) -> None:
    """One who queues up where something lies is woken at once."""
    box = process.boxes.open("a")
    process.put(1)
    assert box.queue_up().done()
    assert process.take_all() == [1]


async def test_surplus(process: Process) -> None:
    """The newest items that nobody waits for can be taken back."""
    box = process.boxes.open("a")
    process.put(1, 2, 3)
    assert list(box.surplus()) == [3, 2, 1]
    waiter = box.queue_up()
    process.put(1)
    assert waiter.done()
    box.queue_up()
    process.put(2, 3)
    assert list(box.surplus()) == [3, 2, 1]


async def test_wake_all(process: Process) -> None:
    """Everyone looks again, though there is nothing."""
    box = process.boxes.open("a")
    waiters = [box.queue_up() for _ in range(3)]
    process.boxes.wake_all()
    assert all(waiter.done() for waiter in waiters)


async def test_other_threads_loop(process: Process) -> None:
    """An item that another thread puts wakes a waiter in its own loop."""
    task = asyncio.create_task(take(process.boxes.open("a")))
    await asyncio.sleep(0)
    thread = threading.Thread(target=process.put, args=[1])
    thread.start()
    assert await asyncio.wait_for(task, 15) == 1
    thread.join()


def test_waiter_in_a_closed_loop(process: Process) -> None:
    """It is passed over, and the item stays for the next one."""
    loop = asyncio.new_event_loop()

    async def queue_up() -> None:
        process.boxes.open("a").queue_up()

    loop.run_until_complete(queue_up())
    loop.close()
    process.put(1)
    assert process.take_all() == [1]


async def test_sweep_keeps_what_is_in_use(process: Process) -> None:
    """Mailboxes with items or waiters stay, the others go."""
    process.put(1)
    process.boxes.open("b").queue_up()
    process.boxes.open("c")
    process.boxes.sweep(patience=60)
    assert [channel for channel in "abc" if process.boxes.find(channel)] == ["a", "b"]


async def test_consumer_that_has_gone(process: Process) -> None:
    """A channel whose `receive` was cancelled, and not called again in time, is told once."""
    process.boxes.left("gone")
    process.boxes.left("back")
    process.boxes.open("back")
    process.boxes.left("waiting")
    process.boxes.open("waiting").queue_up()
    process.boxes.left("waiting")
    assert process.boxes.sweep(patience=60) == []
    assert process.boxes.sweep(patience=-1) == ["gone"]
    assert process.boxes.sweep(patience=-1) == []


async def test_discard(process: Process) -> None:
    """A mailbox that is discarded loses its items, and its waiters look again."""
    process.put(1)
    process.boxes.discard("a")
    waiter = process.boxes.open("a").queue_up()
    assert not waiter.done()
    process.boxes.discard("a")
    assert waiter.done()
    assert process.take_all() == []


def test_clear(process: Process) -> None:
    """Nothing is left in any mailbox."""
    process.put(1, 2)
    process.put(3, channel="b")
    process.boxes.clear()
    assert process.take_all() == process.take_all("b") == []
