"""Bounded queues of a process, one for each of its channels, on which consumers wait.

What is put once for a thousand channels wakes a thousand consumers, so this is written to be quick:
no lock on a consumer's way, and as few calls as the work allows.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from .statistics import Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")

# How many items that are exempt from being dropped a full mailbox is searched past.
MOST_EXEMPT = 100


class Mailbox(Generic[Item]):
    """The items for one channel, and who waits for them.

    Waiters may be in different event loops, of different threads. That needs no lock: an item is
    there before a waiter is woken, and who queues up is there before it looks once more.

    Args:
        capacity: How many items it may hold.
        counters: Count items that have expired.
    """

    __slots__ = ("_capacity", "_counters", "_items", "_waiters")

    def __init__(self, capacity: int, counters: Counters) -> None:
        self._capacity = capacity
        self._counters = counters
        self._items: deque[tuple[float, Item]] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def size(self) -> int:
        """How many items are there."""
        return len(self._items)

    @property
    def full(self) -> bool:
        """Whether another item would be one too many."""
        return len(self._items) >= self._capacity

    @property
    def waiting(self) -> int:
        """How many wait and have not been woken."""
        return len(self._waiters)

    def put(self, dated: tuple[float, Item], loop: asyncio.AbstractEventLoop | None) -> None:
        """Add an item, and wake the first who waits.

        Args:
            dated: The `time.monotonic()` from which on nobody shall get the item, and the item.
            loop: The event loop that runs in this thread.
        """
        self._items.append(dated)
        if self._waiters:
            self._wake(loop)

    def take(self) -> Item | None:
        """Remove and return the oldest item that has not expired, if there is one."""
        while self._items:
            try:
                deadline, item = self._items.popleft()
            except IndexError:  # another thread was faster
                return None
            if deadline > time.monotonic():
                return item
            self._counters.expired += 1
        return None

    def drop(self, exempt: Callable[[Item], bool]) -> bool:
        """Remove the oldest item that is not exempt; return whether there was one.

        Behind a hundred exempt ones the next goes whatever it is, so that these are bounded, too.
        """
        passed: list[tuple[float, Item]] = []
        dropped = False
        while self._items and not dropped:
            try:
                entry = self._items.popleft()
            except IndexError:  # another thread was faster
                break
            dropped = len(passed) >= MOST_EXEMPT or not exempt(entry[1])
            if not dropped:
                passed.append(entry)
        self._items.extendleft(reversed(passed))
        return dropped

    def surplus(self) -> Iterator[Item]:
        """Remove and return the newest items, those that nobody waits for."""
        while len(self._items) > len(self._waiters):
            try:
                yield self._items.pop()[1]
            except IndexError:
                return

    def queue_up(self) -> asyncio.Future[None]:
        """Return a future that is done when there may be something to take."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiters.append(waiter)
        if self._items:
            self._wake(loop)
        return waiter

    def withdraw(self, waiter: asyncio.Future[None]) -> None:
        """Undo `queue_up` for one who will take nothing."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        elif self._items:
            # It was woken already: the next one takes its place.
            self._wake(_running_loop())

    def wake_all(self) -> None:
        """Make everyone who waits look again."""
        loop = _running_loop()
        for _ in range(len(self._waiters)):
            self._wake(loop)

    def drop_expired(self) -> None:
        """Remove the items that have expired."""
        now = time.monotonic()
        while self._items and self._items[0][0] <= now:
            self._items.popleft()
            self._counters.expired += 1

    def _wake(self, loop: asyncio.AbstractEventLoop | None) -> None:
        while self._waiters:
            try:
                waiter = self._waiters.popleft()
            except IndexError:  # another thread was faster
                return
            if waiter.done():
                continue
            if waiter.get_loop() is loop:
                waiter.set_result(None)
                return
            try:
                waiter.get_loop().call_soon_threadsafe(_set, waiter)
            except RuntimeError:  # its loop is closed
                continue
            return


class Mailboxes(Generic[Item]):
    """The mailboxes of a process.

    Args:
        capacity: Returns how many items the mailbox of a channel may hold.
        overflowed: Called with the channel whenever an item was dropped, the oldest one, since
            its mailbox was full.
        exempt: Tells which items are not dropped, however full a mailbox is.
        counters: Count items that have expired.
    """

    def __init__(
        self,
        capacity: Callable[[str], int],
        overflowed: Callable[[str], object],
        exempt: Callable[[Item], bool] = lambda _: False,
        counters: Counters | None = None,
    ) -> None:
        self._capacity = capacity
        self._overflowed = overflowed
        self._exempt = exempt
        self._counters = counters or Counters()
        self._lock = threading.Lock()
        self._boxes: dict[str, Mailbox[Item]] = {}
        # Returns the mailbox of a channel, or None.
        self.find = self._boxes.get
        # When the last `receive` of a channel was cancelled: its consumer has probably gone.
        self._left: dict[str, float] = {}

    def __len__(self) -> int:
        """Return the number of mailboxes."""
        return len(self._boxes)

    def __contains__(self, channel: object) -> bool:
        """Tell whether the channel has a mailbox."""
        return channel in self._boxes

    @property
    def unread(self) -> int:
        """How many items are in all mailboxes."""
        return sum(box.size for box in list(self._boxes.values()))

    def open(self, channel: str) -> Mailbox[Item]:
        """Return the channel's mailbox, and note that somebody receives there."""
        if self._left:
            self._left.pop(channel, None)
        box = self._boxes.get(channel)
        if box is None:
            with self._lock:
                box = self._boxes.setdefault(
                    channel, Mailbox(self._capacity(channel), self._counters)
                )
        return box

    def left(self, channel: str) -> None:
        """Note that a `receive` of the channel was cancelled."""
        self._left[channel] = time.monotonic()

    def put(self, channels: Iterable[str], item: Item, deadline: float) -> None:
        """Add the item to the mailbox of each channel; a full one loses its oldest.

        Args:
            channels: The channels.
            item: What each of them gets.
            deadline: The `time.monotonic()` from which on nobody shall get it.
        """
        loop, full = _running_loop(), []
        dated = (deadline, item)
        with self._lock:
            for channel in channels:
                box = self._boxes.get(channel)
                if box is None:
                    box = self._boxes[channel] = Mailbox(self._capacity(channel), self._counters)
                elif box.full and box.drop(self._exempt):
                    full.append(channel)
                box.put(dated, loop)
        for channel in full:
            self._overflowed(channel)

    def discard(self, channel: str) -> None:
        """Drop the channel's mailbox and what is in it; who waits there looks again."""
        with self._lock:
            box = self._boxes.pop(channel, None)
        if box is not None:
            box.wake_all()

    def waiting(self, channel: str) -> int:
        """Return how many wait for the channel and have not been woken."""
        box = self._boxes.get(channel)
        return 0 if box is None else box.waiting

    def wake_all(self) -> None:
        """Make everyone who waits look again."""
        for box in list(self._boxes.values()):
            box.wake_all()

    def sweep(self, patience: float) -> list[str]:
        """Drop what nobody needs, and return the channels whose consumers have gone.

        Args:
            patience: Seconds that a channel whose `receive` was cancelled is kept for a new one.
        """
        with self._lock:
            for channel, box in list(self._boxes.items()):
                box.drop_expired()
                # Removed first and looked at then: so one who queues up meanwhile is either seen
                # here, or sees that the mailbox has gone.
                del self._boxes[channel]
                if box.size or box.waiting:
                    self._boxes[channel] = box
        before = time.monotonic() - patience
        gone = [channel for channel, left in list(self._left.items()) if left < before]
        return [
            channel
            for channel in gone
            if self._left.pop(channel, None) is not None and not self.waiting(channel)
        ]

    def clear(self) -> None:
        """Drop all items; those who wait go on waiting."""
        with self._lock:
            for box in self._boxes.values():
                while box.size:
                    box.take()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
