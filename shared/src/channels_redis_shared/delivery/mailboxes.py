"""Queues of a broker, one for each of its channels, on which consumers wait.

One message may be put into a thousand mailboxes and wake a thousand consumers, so the way of a
consumer takes no lock and as few calls as possible.

A mailbox holds any number of messages unless the user sets a capacity. Two bounds always hold:
messages expire, and all mailboxes of the broker share a number of bytes, past which the fullest
lose their oldest messages first. A message in a thousand mailboxes is in memory once, and counts
once for the broker; it counts in full in each mailbox when the fullest is chosen.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ..clock import monotonic
from ..concurrency import running_loop
from ..messages.serializers import DecodedMessage
from ..ops.statistics import Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from ..uvicorn_socket import EncodedFrame

# Leading notices to skip when looking for a message to drop.
MAX_NOTICES = 100
# Bytes of a message in addition to its own: the decoded dict and the objects around it.
MESSAGE_OVERHEAD = 500
# Bytes that a message counts for each mailbox that holds it.
REFERENCE_SIZE = 8
# Messages whose bytes were given back and are not subtracted yet.
MAX_FREED = 1000
# The bytes divided by this are freed at once when there are too many, since finding the fullest
# mailboxes means measuring all of them.
EVICTION_DIVISOR = 8


# The consumers that one item wakes at once. Together they hold the event loop for tens of
# milliseconds.
MAX_WOKEN = 500


class MailboxItem(Protocol):
    """A message or a notice, which may be in several mailboxes."""

    def copy(self) -> dict[str, Any]:
        """Return the message as a dict of the caller's own."""


class Notice:
    """A message of the layer's own. Never dropped for lack of room."""

    __slots__ = ("type",)

    def __init__(self, message_type: str) -> None:
        self.type = message_type

    def copy(self) -> dict[str, Any]:
        """Return the message as a dict of the caller's own."""
        return {"type": self.type}


class OverflowNotice(Notice):
    """The notice of lost messages, with their number."""

    __slots__ = ("lost",)

    def __init__(self, message_type: str, lost: int) -> None:
        super().__init__(message_type)
        self.lost = lost

    def copy(self) -> dict[str, Any]:
        """Return the message as a dict of the caller's own."""
        return {"type": self.type, "lost": self.lost}


class Sink(Protocol):
    """Take the messages of a mailbox instead of a consumer that has nothing else to do."""

    def claim(self, mailbox: Mailbox) -> bool:
        """Return whether it will take a mailbox's frames in a later turn, until none is left."""

    def frame(self, message: Any) -> EncodedFrame | None:
        """Return the frame of a message, empty for nothing; None if a `receive` has to take it."""


class Entry:
    """An item, and the `monotonic()` at which it expires."""

    __slots__ = ("deadline", "item")

    # Bytes that it counts.
    size = 0

    def __init__(self, deadline: float, item: MailboxItem) -> None:
        self.deadline = deadline
        self.item = item


class SizedEntry(Entry):
    """An entry that counts against the bytes of the process until its last mailbox drops it.

    The end of the object gives the bytes back, so no consumer has to count them.
    """

    __slots__ = ("_freed", "size")

    def __init__(self, deadline: float, item: MailboxItem, size: int, freed: deque[int]) -> None:
        # One is made for each message: no call of the other `__init__`.
        self.deadline = deadline
        self.item = item
        self.size = size
        self._freed = freed

    def __del__(self) -> None:
        """Release the bytes. A deque takes no lock, as this may run anywhere."""
        self._freed.append(self.size)


class Mailbox:
    """The items for one channel, and the `receive` calls that wait for them.

    It is used in one event loop at a time. But the garbage collector may end a `receive` anywhere.

    Args:
        capacity: The maximum number of items; None: any number.
        on_overflow: The `type` of the notice of lost messages; None: there is none.
        counters: Count expired items and broadcasts.
    """

    __slots__ = (
        "_claimed",
        "_counters",
        "_idle",
        "_items",
        "_lost",
        "_on_overflow",
        "_waiters",
        "capacity",
        "last_receipt",
        "put_quietly",
        "receive_cancelled",
        "sink",
        "task",
        "tracks_task",
    )

    def __init__(self, capacity: int | None, on_overflow: str | None, counters: Counters) -> None:
        self.capacity = capacity
        self._on_overflow = on_overflow
        self._counters = counters
        self._items: deque[Entry] = deque()
        # Adds an item, and wakes no one until `wake`.
        self.put_quietly = self._items.append
        self._waiters: deque[asyncio.Future[None]] = deque()
        # Messages that were lost since the latest notice, if there are notices.
        self._lost = 0
        # Returns the sink of the consumer, if it exists still.
        self.sink: weakref.ref[Sink] | None = None
        # True while the sink takes the messages, and no waiter may.
        self._claimed = False
        # The last task known to have received; None before the first.
        self.task: weakref.ref[asyncio.Task[Any]] | None = None
        # True if the task of the next `receive` has to be tracked.
        self.tracks_task = True
        # True if the last `receive` that waited was cancelled.
        self.receive_cancelled = False
        # The process's count of received messages at the last receipt from here.
        self.last_receipt = 0
        # The task that had ended when that was noticed, and when.
        self._idle: tuple[weakref.ref[asyncio.Task[Any]] | None, float] | None = None

    @property
    def size(self) -> int:
        """The number of items."""
        return len(self._items)

    @property
    def bytes(self) -> int:
        """The bytes of all items, each counted in full."""
        return sum(entry.size for entry in list(self._items))

    @property
    def waiting(self) -> int:
        """The number of waiters that have not been woken."""
        return len(self._waiters)

    @property
    def is_served(self) -> bool:
        """True if it is empty, or a waiter will soon take what there is."""
        return not self._items or (bool(self._waiters) and not self._claimed)

    @property
    def is_unused(self) -> bool:
        """True if there is neither an item nor a waiter; an overflow notice alone is useless."""
        return not self._items and not self._waiters

    def put(self, entry: Entry) -> None:
        """Add an item, and wake the first waiter."""
        self._items.append(entry)
        if self._waiters and not self._claimed:
            if self.sink is None:
                self._wake()
            else:
                self.wake()

    def wake(self) -> None:
        """Let the sink take the items, or else wake the first waiter, if anyone waits for one."""
        if self._claimed or not self._waiters or not self._items:
            return
        sink = None if self.sink is None else self.sink()
        if sink is not None and sink.claim(self):
            self._claimed = True
        else:
            self._wake()

    def put_first(self, entry: Entry) -> None:
        """Put an item before all others."""
        self._items.appendleft(entry)
        self._wake()

    def take(self) -> MailboxItem | None:
        """Remove and return the oldest item that has not expired, if the sink leaves it.

        A notice of lost messages is before all other items.
        """
        if self._lost and self._on_overflow is not None and not self._claimed:
            lost, self._lost = self._lost, 0
            return OverflowNotice(self._on_overflow, lost)
        # Most calls find nothing, and an IndexError would take as long as the rest of them.
        if not self._items or (self.sink is not None and self._is_left_to_sink()):
            return None
        now = monotonic()
        if self._items[0].deadline <= now:
            self.drop_expired(now)
            return self.take()
        return self._items.popleft().item

    def next_frame(self, sink: Sink) -> EncodedFrame | None:
        """Remove the oldest item and return its frame, for a sink that has claimed the mailbox.

        None ends the claim: no item is left, or one that a `receive` has to take.
        """
        self.drop_expired(monotonic())
        while self._items and not self._lost:
            item = self._items[0].item
            frame = sink.frame(item) if isinstance(item, DecodedMessage) else None
            if frame is None:
                break
            self._items.popleft()
            self._counters.broadcasts += 1
            if frame:
                return frame
        self.end_claim()
        return None

    def end_claim(self) -> None:
        """Leave what there is to the waiters."""
        self._claimed = False
        if self._items or self._lost:
            self._wake()

    def drop_oldest(self, keep: Entry | None = None) -> int | None:
        """Remove the oldest message, but not `keep`; return the bytes that it counted.

        Behind a hundred notices any item goes, so that these are bounded, too.
        """
        index = self._oldest()
        if index is None or self._items[index] is keep:
            return None
        size = self._items[index].size
        del self._items[index]
        self._count_lost(1)
        return size

    def drop_expired(self, now: float) -> None:
        """Remove the items that have expired."""
        if not self._items or now < self._items[0].deadline < math.inf:
            return
        expired = 0
        while (index := self._oldest()) is not None and self._items[index].deadline <= now:
            del self._items[index]
            expired += 1
        self._counters.expired += expired
        self._count_lost(expired)

    def add_waiter(self) -> asyncio.Future[None]:
        """Return a future that is done when there may be something to take."""
        waiter = asyncio.get_running_loop().create_future()
        self.receive_cancelled = False
        self._waiters.append(waiter)
        if (self._items or self._lost) and not self._claimed:
            self._wake()
        return waiter

    def remove_waiter(self, waiter: asyncio.Future[None]) -> None:
        """Undo `add_waiter` for a call that will take nothing.

        The garbage collector may end a `receive` of a closed loop anywhere, also within `put`.
        """
        self.receive_cancelled = True
        try:
            self._waiters.remove(waiter)
        except ValueError:
            if (self._items or self._lost) and waiter.get_loop() is running_loop():
                # It was woken already: the next one takes its place.
                self._wake()

    def wake_all(self) -> None:
        """Wake all waiters."""
        while self._waiters:
            self._wake()

    def clear(self) -> None:
        """Drop all items."""
        self._items.clear()
        self._lost = 0

    def running_task(self) -> asyncio.Task[Any] | None:
        """Return the task that received last, if it still runs."""
        task = None if self.task is None else self.task()
        return None if task is None or task.done() or task.get_loop().is_closed() else task

    def has_waiter(self) -> bool:
        """Return whether a `receive` waits, in an event loop that is not closed."""
        return bool(self._waiters) and not self._waiters[0].get_loop().is_closed()

    def mark_in_use(self) -> None:
        """Note that the channel has a consumer."""
        self._idle = None

    def idle_for(self, now: float) -> float:
        """Return the seconds since the end of the task was first noticed."""
        if self._idle is None or self._idle[0] is not self.task:
            self._idle = self.task, now
            self.tracks_task = True
        return now - self._idle[1]

    def _is_left_to_sink(self) -> bool:
        """Return whether the sink takes the oldest item, which waited for the consumer.

        Otherwise a consumer that was busy once would stay slow: in a busy group the next message is
        there before its handler has sent the last one.
        """
        sink = None if self.sink is None else self.sink()
        if sink is None or self._claimed:
            return self._claimed
        first = self._items[0].item
        self._claimed = (
            isinstance(first, DecodedMessage) and sink.frame(first) is not None and sink.claim(self)
        )
        return self._claimed

    def _oldest(self) -> int | None:
        """Return the index of the oldest message, or of what is behind a hundred notices."""
        for index, entry in enumerate(self._items):
            if index == MAX_NOTICES or not isinstance(entry.item, Notice):
                return index
        return None

    def _count_lost(self, count: int) -> None:
        if count and self._on_overflow is not None:
            self._lost += count
            if not self._claimed:
                self._wake()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                try:
                    waiter.set_result(None)
                except RuntimeError:  # its loop is closed
                    continue
                return


class Wait:
    """The place of what a channel has missed in a group, among all that the channel gets.

    Attributes:
        channel: The channel.
        is_over: True once nothing is missing any more.
        missed: What it has missed, if it waits for something else before; arguments for `put`.
        later: What has come since.
    """

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.is_over = False
        self.missed: list[tuple[MailboxItem, float, int]] = []
        self.later: list[tuple[MailboxItem, float, int]] = []


class Mailboxes:
    """The mailboxes of a broker.

    What comes for a channel that waits for messages it has missed is held back, so that it
    overtakes nothing.

    Args:
        max_bytes: The bytes that all of them may hold.
        report_lost: Called with a channel and the number of its messages that were dropped for
            lack of room.
        capacity: Returns the maximum number of items of a channel; None: any number.
        on_overflow: The `type` of the notice of lost messages; None: there is none.
        counters: Count expired items and broadcasts.
    """

    def __init__(
        self,
        max_bytes: int,
        report_lost: Callable[[str, int], object],
        *,
        capacity: Callable[[str], int | None] = lambda _: None,
        on_overflow: str | None = None,
        counters: Counters | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._report_lost = report_lost
        self._capacity = capacity
        self._on_overflow = on_overflow
        self._counters = counters or Counters()
        self._boxes: dict[str, Mailbox] = {}
        # By channel, in the order in which they began: it may be behind in several groups.
        self.waits: dict[str, deque[Wait]] = {}
        # By channel. Held weakly: a sink may hold the task of its consumer, whose end is noticed by
        # its collection if its loop was closed without cleanup.
        self._sinks: dict[str, weakref.ref[Sink]] = {}
        # Returns the mailbox of a channel, or None.
        self.find = self._boxes.get
        # The bytes that were put, and those given back that are not yet subtracted.
        self._used = 0
        self._freed: deque[int] = deque()

    def __len__(self) -> int:
        """Return the number of mailboxes."""
        return len(self._boxes)

    def has_any(self, address: str) -> bool:
        """Return whether any channel of the address has a mailbox."""
        return any(channel.startswith(address) for channel in list(self._boxes))

    @property
    def unread(self) -> int:
        """The number of items in all mailboxes."""
        return sum(box.size for box in list(self._boxes.values()))

    def open(self, channel: str) -> Mailbox:
        """Return the channel's mailbox; create it if there is none."""
        box = self._boxes.get(channel)
        if box is None:
            box = self._boxes[channel] = self._new_mailbox(channel)
        return box

    def put(  # noqa: C901 - each message takes this way: no calls that can be left out
        self,
        channels: Collection[str],
        item: MailboxItem,
        deadline: float = math.inf,
        size: int = 0,
        awaited: Mapping[str, Wait] | None = None,
    ) -> None:
        """Add the item to the mailbox of each channel, or hold it back.

        Args:
            channels: The channels.
            item: The item, which they share.
            deadline: The `monotonic()` at which it expires.
            size: The bytes of a message; a notice counts none.
            awaited: By channel, the waits that are for this item.
        """
        if self.waits:
            channels = self._hold_back(channels, (item, deadline, size), awaited)
        wakes_later = len(channels) > MAX_WOKEN and running_loop() is not None
        boxes: list[Mailbox] = []
        lost: dict[str, int] = {}
        if size:
            size += MESSAGE_OVERHEAD + REFERENCE_SIZE * len(channels)
            entry: Entry = SizedEntry(deadline, item, size, self._freed)
            self._used += size
        else:
            entry = Entry(deadline, item)
        for channel in channels:
            box = self._boxes.get(channel)
            if box is None:
                box = self._boxes[channel] = self._new_mailbox(channel)
            elif (
                box.capacity is not None
                and box.size >= box.capacity
                and box.drop_oldest() is not None
            ):
                lost[channel] = 1
            if wakes_later:
                box.put_quietly(entry)
                boxes.append(box)
            else:
                box.put(entry)
        # Not for each message: what was given back matters when there seems to be too much.
        if self._used > self._max_bytes or len(self._freed) >= MAX_FREED:
            self._subtract_freed()
            if self._used > self._max_bytes:
                self._evict(entry, lost)
        if boxes:
            _wake_some(boxes)
        for channel, count in lost.items():
            self._report_lost(channel, count)

    def hold(self, wait: Wait) -> None:
        """Hold back what comes for a channel from now on, until `release`."""
        self.waits.setdefault(wait.channel, deque()).append(wait)

    def release(self, waits: Iterable[Wait]) -> None:
        """Let go what has come after these, unless it waits for something else."""
        for ended in waits:
            ended.is_over = True
            channel = ended.channel
            left = self.waits.get(channel)
            while left and left[0].is_over:
                wait = left.popleft()
                if not left:
                    self.waits.pop(channel, None)
                # All of it comes before what the next wait is for.
                awaited = {channel: left[0]} if left else None
                for held in (*wait.missed, *wait.later):
                    self.put((channel,), *held, awaited)

    def attach_sink(self, channel: str, sink: Sink) -> None:
        """Let a sink take messages for a channel for as long as the sink exists."""
        found = self._sinks[channel] = weakref.ref(sink, partial(self._sinks.pop, channel))
        box = self._boxes.get(channel)
        if box is not None:
            box.sink = found

    def notify_first(self, channel: str, message_type: str) -> None:
        """Put a notice before all items of a channel that has a mailbox."""
        box = self._boxes.get(channel)
        if box is not None:
            box.put_first(Entry(math.inf, Notice(message_type)))

    def discard(self, channel: str) -> None:
        """Drop the channel's mailbox, its items and its waits; its waiters look again."""
        self.waits.pop(channel, None)
        box = self._boxes.pop(channel, None)
        if box is not None:
            box.wake_all()
            box.clear()

    def wake_all(self) -> None:
        """Wake all waiters."""
        for box in list(self._boxes.values()):
            box.wake_all()

    def items(self) -> list[tuple[str, Mailbox]]:
        """Return all channels and their mailboxes."""
        return list(self._boxes.items())

    def drop_expired(self) -> None:
        """Drop all items that have expired."""
        now = monotonic()
        for box in list(self._boxes.values()):
            if not box.is_served:
                box.drop_expired(now)

    def forget_unused(self, channel: str) -> None:
        """Forget the channel's mailbox if it has neither messages nor waiters."""
        box = self._boxes.get(channel)
        if box is not None and box.is_unused:
            del self._boxes[channel]

    def clear(self) -> None:
        """Drop all items; waiters still wait."""
        for box in self._boxes.values():
            box.clear()

    def _hold_back(
        self,
        channels: Collection[str],
        held: tuple[MailboxItem, float, int],
        awaited: Mapping[str, Wait] | None,
    ) -> Collection[str]:
        """Hold an item back for the channels for which it must not come yet; return the others.

        A notice is about no message, so it never waits, unless it is for a wait.
        """
        if awaited is None and isinstance(held[0], Notice):
            return channels
        free = []
        for channel in channels:
            waits, wait = self.waits.get(channel), awaited.get(channel) if awaited else None
            if waits is None or waits[0] is wait:
                free.append(channel)
            else:
                (wait.missed if wait else waits[-1].later).append(held)
        return free

    def _new_mailbox(self, channel: str) -> Mailbox:
        box = Mailbox(self._capacity(channel), self._on_overflow, self._counters)
        box.sink = self._sinks.get(channel)
        return box

    def _subtract_freed(self) -> None:
        freed = self._freed
        while freed:
            self._used -= freed.popleft()

    def _evict(self, newest: Entry, lost: dict[str, int]) -> None:
        """Drop the oldest messages of the fullest mailboxes, but not the newest entry."""
        goal = self._max_bytes - self._max_bytes // EVICTION_DIVISOR
        fullest = [(-box.bytes, channel) for channel, box in self._boxes.items() if box.size]
        heapq.heapify(fullest)
        while self._used > goal and fullest:
            minus_size, channel = heapq.heappop(fullest)
            box, size = self._boxes[channel], -minus_size
            next_size = -fullest[0][0] if fullest else 0
            dropped: int | None = 0
            while self._used > goal and size >= next_size:
                dropped = box.drop_oldest(newest)
                if dropped is None:
                    break
                lost[channel] = lost.get(channel, 0) + 1
                size -= dropped
                self._subtract_freed()
            if dropped is not None:
                heapq.heappush(fullest, (-size, channel))


def _wake_some(boxes: list[Mailbox], begin: int = 0) -> None:
    """Wake the consumers of some mailboxes; of the others after other work of the loop."""
    end = begin + MAX_WOKEN
    for box in boxes[begin:end]:
        box.wake()
    if end < len(boxes):
        asyncio.get_running_loop().call_soon(_wake_some, boxes, end)
