"""The mailboxes of a process: any sequence of what they hold, and the consumers that wait."""

from __future__ import annotations

import gc
import itertools
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from channels_redis_shared.delivery import mailboxes
from channels_redis_shared.delivery.consumers import ConsumerTracker
from channels_redis_shared.delivery.mailboxes import (
    MAX_NOTICES,
    MESSAGE_OVERHEAD,
    REFERENCE_SIZE,
    Mailboxes,
    Notice,
    OverflowNotice,
    Wait,
)
from channels_redis_shared.ops.statistics import Counters
from unit.conftest import another_thread

MAX_BYTES = 10_000
CAPACITIES = {"bounded": 3}
CHANNELS = ["a", "b", "bounded"]
channels = st.sampled_from(CHANNELS)


class Message:
    """A numbered message."""

    def __init__(self, number: int, channels: list[str], deadline: float, size: int) -> None:
        self.number = number
        self.deadline = deadline
        self.bytes = size + MESSAGE_OVERHEAD + REFERENCE_SIZE * len(channels)

    def copy(self) -> dict[str, Any]:
        """The message."""
        return {"message": self}


class Delivery(RuleBasedStateMachine):
    """Consumers get what was put, in order, and notices exactly where something is missing."""

    @initialize(on_overflow=st.sampled_from([None, "lost"]))
    def begin(self, on_overflow: str | None) -> None:
        """Begin without mailboxes."""
        self.now = 1000.0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(mailboxes, "monotonic", lambda: self.now)
        self.on_overflow = on_overflow
        self.counters = Counters()
        self.reported: Counter[str] = Counter()
        self.boxes = Mailboxes(
            MAX_BYTES,
            self.report_lost,
            capacity=CAPACITIES.get,
            on_overflow=on_overflow,
            counters=self.counters,
        )
        self.count = 0
        self.newest = 0
        # Messages that have neither been taken nor been passed over; and for each of the layer's
        # own notices the number of the message before it.
        self.sent: dict[str, list[Message]] = {channel: [] for channel in CHANNELS}
        self.notices: dict[str, list[int]] = {channel: [] for channel in CHANNELS}
        # Messages that are said to be missing since one was taken, and all that are missing.
        self.notified: Counter[str] = Counter()
        self.missing = 0

    def report_lost(self, channel: str, count: int) -> None:
        """Count what found no room."""
        self.reported[channel] += count

    @rule(
        channels=st.lists(channels, min_size=1, unique=True),
        lives=st.sampled_from([1, 10, 100]),
        size=st.sampled_from([1, 500, 3000, 2 * MAX_BYTES]),
    )
    def put(self, channels: list[str], lives: float, size: int) -> None:
        """Put a message into one or more mailboxes."""
        self.count += 1
        message = Message(self.count, channels, self.now + lives, size)
        for channel in channels:
            self.sent[channel].append(message)
        self.newest = message.bytes
        self.boxes.put(channels, message, message.deadline, size)
        for channel in channels:
            assert self.inside(channel)[-1] is message

    @rule(channel=channels)
    def put_notice(self, channel: str) -> None:
        """Put a notice, as of an outage."""
        self.notices[channel].append(self.count)
        self.newest = 0
        self.boxes.put([channel], Notice("outage"))

    @rule(channel=channels)
    def take(self, channel: str) -> None:
        """Take the next item."""
        item = self.boxes.open(channel).take()
        if item is None:
            assert not self.notices[channel]
            assert not self.inside(channel)
            self.pass_over(channel, len(self.sent[channel]), None)
        elif isinstance(item, Message):
            assert item.deadline > self.now
            assert all(before >= item.number for before in self.notices[channel])
            self.pass_over(channel, self.sent[channel].index(item), item)
        elif isinstance(item, OverflowNotice):
            assert item.lost > 0
            self.notified[channel] += item.lost
        else:
            before = self.notices[channel].pop(0)
            assert all(message.number > before for message in self.inside(channel))

    def pass_over(self, channel: str, count: int, taken: Message | None) -> None:
        """Note that messages are missing before the one that was taken."""
        if self.on_overflow:
            assert self.notified[channel] == count
        self.missing += count
        self.notified[channel] = 0
        del self.sent[channel][: count + (taken is not None)]

    @rule(seconds=st.sampled_from([1, 10]))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds

    @rule()
    def drop_expired(self) -> None:
        """Drop what has expired."""
        self.boxes.drop_expired()
        for channel in CHANNELS:
            first = next(iter(self.inside(channel)), None)
            assert first is None or first.deadline > self.now

    @rule(channel=channels)
    def discard(self, channel: str) -> None:
        """End a consumer."""
        self.missing += len(self.sent[channel]) - len(self.inside(channel))
        self.sent[channel].clear()
        self.notices[channel].clear()
        self.notified[channel] = 0
        self.boxes.discard(channel)

    def inside(self, channel: str) -> list[Message]:
        """The messages in a mailbox."""
        box = self.boxes.find(channel)
        items = [entry.item for entry in box._items] if box else []
        return [item for item in items if isinstance(item, Message)]

    @invariant()
    def only_the_oldest_are_missing(self) -> None:
        """A mailbox holds the latest of what was put, within its capacity."""
        missing = self.missing
        for channel in CHANNELS:
            inside, sent = self.inside(channel), self.sent[channel]
            assert inside == sent[len(sent) - len(inside) :]
            assert len(inside) <= CAPACITIES.get(channel, self.count)
            missing += len(sent) - len(inside)
        assert missing == sum(self.reported.values()) + self.counters.expired

    @invariant()
    def bytes_are_bounded(self) -> None:
        """The bytes of each message count once, and never exceed the limit."""
        messages = {message for channel in CHANNELS for message in self.inside(channel)}
        assert self.used() == sum(message.bytes for message in messages)
        assert self.used() <= max(MAX_BYTES, self.newest)

    def used(self) -> int:
        """The bytes that all items count."""
        self.boxes._subtract_freed()
        return self.boxes._used

    def teardown(self) -> None:
        """Take all that is left."""
        if not hasattr(self, "boxes"):
            return
        for channel in CHANNELS:
            while self.boxes.open(channel).size:
                self.take(channel)
            self.take(channel)
        assert (self.used(), self.boxes.unread) == (0, 0)
        self.patch.undo()


TestDelivery = Delivery.TestCase


LATER = time.monotonic() + 3600
KILOBYTE = 1000 - MESSAGE_OVERHEAD - REFERENCE_SIZE  # counts so much in one mailbox


class Process:
    """Mailboxes that have room for ten messages."""

    def __init__(self, **options: Any) -> None:
        self.boxes = Mailboxes(10_000, lambda *_: None, **options)

    def put(self, *numbers: int, channel: str = "a", deadline: float = LATER) -> None:
        """Put messages of a kilobyte into a mailbox."""
        for number in numbers:
            message = Message(number, [channel], deadline, KILOBYTE)
            self.boxes.put([channel], message, deadline, KILOBYTE)

    def take_all(self, channel: str = "a") -> list[Any]:
        """Take what is in a mailbox: numbers, and what notices say."""
        items = iter(self.boxes.open(channel).take, None)
        return [item.number if isinstance(item, Message) else item.copy() for item in items]


@pytest.fixture
def process() -> Process:
    """A process without mailboxes."""
    return Process()


def test_mailboxes_that_are_equally_full_lose_equally(process: Process) -> None:
    """No channel is chosen by its name or its age."""
    for number in range(20):
        for channel in "abc":
            process.put(number, channel=channel)
    sizes = [len(process.take_all(channel)) for channel in "abc"]
    assert max(sizes) - min(sizes) <= 2
    assert 6 <= sum(sizes) <= 10


def test_notice_of_lost_messages_is_never_dropped() -> None:
    """It comes first; behind a hundred notices others go, and are counted in it."""
    process = Process(capacity=lambda _: 3, on_overflow="lost")
    for _ in range(MAX_NOTICES):
        process.boxes.put(["a"], Notice("outage"))
    process.put(1, 2, 3, 4)
    first, *notices, last = process.take_all()
    assert (first["lost"], len(notices), last) == (3, MAX_NOTICES, 4)
    process.put(5, 6, 7, 8)
    first, *last = process.take_all()
    assert (first["lost"], last) == (1, [6, 7, 8])


async def test_cancelled_waiter_loses_nothing(process: Process) -> None:
    """One that is cancelled after it was woken, in the same turn, passes its turn on."""
    box = process.boxes.open("a")
    first, second, third = (box.add_waiter() for _ in range(3))
    process.put(1)
    assert [waiter.done() for waiter in (first, second)] == [True, False]
    box.remove_waiter(first)
    assert second.done()
    box.remove_waiter(third)
    assert box.waiting == 0
    assert process.take_all() == [1]


def test_count_while_another_thread_opens(process: Process) -> None:
    """Statistics may be read in any thread, and collect garbage, which lets others run."""
    boxes = process.boxes
    for number in range(5_000):
        boxes.open(f"{number}")

    def open_and_discard() -> None:
        for number in range(100):
            boxes.open(f"other {number}")
        for number in range(100):
            boxes.discard(f"other {number}")

    def run_other_threads(_phase: str, _info: object) -> None:
        """Do nothing, in Python."""

    gc.callbacks.append(run_other_threads)
    try:
        with another_thread(open_and_discard):
            assert all(len(boxes) >= 5_000 and boxes.unread == 0 for _ in range(20))
    finally:
        gc.callbacks.remove(run_other_threads)


def test_notice_keeps_no_mailbox_that_is_never_received_on() -> None:
    """As after a consumer has ended: what still comes for it expires, and nothing stays."""
    process = Process(on_overflow="lost")
    process.put(1, deadline=time.monotonic())
    ended: list[str] = []
    ConsumerTracker(process.boxes, 60, ended.extend).sweep()
    assert not ended
    assert process.boxes.find("a") is None


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_waits_that_end_in_any_order(order: tuple[int, ...]) -> None:
    """Missed messages take the place of their wait; only the layer's notices don't wait."""
    boxes, now = Mailboxes(MAX_BYTES, lambda *_: None), time.monotonic()
    waits = [Wait("a") for _ in range(3)]
    first = [Message(0, ["a"], now, 0) for _ in waits]
    second = [Message(0, ["a"], now, 0) for _ in waits]
    for wait, message in zip(waits, second, strict=True):
        boxes.hold(wait)
        boxes.put(("a",), message)
    notice, last = Notice("lost"), Message(0, ["a"], now, 0)
    boxes.put(("a",), notice)
    for number in order:
        boxes.put(("a",), first[number], awaited={"a": waits[number]})
        boxes.release((waits[number],))
    boxes.put(("a",), last)
    expected = [one for pair in zip(first, second, strict=True) for one in pair]
    assert [*iter(boxes.open("a").take, None)] == [notice, *expected, last]
    assert not boxes.waits
