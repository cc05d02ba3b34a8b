"""Any sequence of messages that are put, taken, expire, or find no room."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from channels_redis_shared.delivery import mailboxes
from channels_redis_shared.delivery.mailboxes import (
    MESSAGE_OVERHEAD,
    REFERENCE_SIZE,
    Mailboxes,
    Notice,
    OverflowNotice,
)
from channels_redis_shared.ops.statistics import Counters

# Thousands of steps: a busy machine takes minutes.
pytestmark = pytest.mark.timeout(300)

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
        """Return the message."""
        return {"message": self}


class Delivery(RuleBasedStateMachine):
    """Consumers get what was put, in order, and are told exactly where something is missing."""

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
        # Messages that have neither been taken nor been passed over, and the layer's own notices.
        self.sent: dict[str, list[Message]] = {channel: [] for channel in CHANNELS}
        self.notices: Counter[str] = Counter()
        # Messages that are said to be missing since one was taken, and all that are missing.
        self.told: Counter[str] = Counter()
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
        self.notices[channel] += 1
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
            self.pass_over(channel, self.sent[channel].index(item), item)
        elif isinstance(item, OverflowNotice):
            assert item.lost > 0
            self.told[channel] += item.lost
        else:
            self.notices[channel] -= 1

    def pass_over(self, channel: str, count: int, taken: Message | None) -> None:
        """Note that messages are missing before the one that was taken."""
        if self.on_overflow:
            assert self.told[channel] == count
        self.missing += count
        self.told[channel] = 0
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
        self.notices[channel] = self.told[channel] = 0
        self.boxes.discard(channel)

    def inside(self, channel: str) -> list[Message]:
        """Return the messages in a mailbox."""
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
        """Return the bytes that all items count."""
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
