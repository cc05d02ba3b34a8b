"""Queues of a process, one for each of its channels, on which consumers wait.

What is put once for a thousand channels wakes a thousand consumers, so this is written to be quick:
no lock on a consumer's way, and as few calls as the work allows.

A consumer that keeps taking loses nothing: no number of messages bounds a mailbox unless the user
sets one. Two bounds hold for what waits. A message goes when its time is over. And all mailboxes of
the process share a number of bytes; past that, the fullest lose their oldest messages first. A
message that waits in a thousand mailboxes is in memory once, and so counts once against the bytes
of the process; it counts in full in each mailbox when the fullest is looked for.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Protocol

from ..concurrency.loop_local import running_loop
from ..ops.statistics import Counters

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable, Collection, Container

# Notices that a mailbox is searched past for a message to drop.
MAX_NOTICES = 100
# Bytes that a message takes beside its own: the decoded dict and the objects around it.
MESSAGE_OVERHEAD = 500
# Bytes that a message takes in each mailbox that it waits in.
REFERENCE_SIZE = 8
# The part of the bytes that is freed at once when there are too many: finding the fullest takes a
# look at all mailboxes.
FREED_PART = 8


class MailboxItem(Protocol):
    """An entry's content, such as a message."""

    def open(self) -> dict[str, Any]:
        """Return it as a message, an object of its own."""


class Notice:
    """Tells a consumer what the layer has to say. Never dropped for lack of room."""

    __slots__ = ("type",)

    def __init__(self, message_type: str) -> None:
        self.type = message_type

    def open(self) -> dict[str, Any]:
        """Return the message."""
        return {"type": self.type}


class OverflowNotice(Notice):
    """Tells a consumer how many messages are missing in this place."""

    __slots__ = ("_box", "lost")

    def __init__(self, message_type: str, box: Mailbox) -> None:
        super().__init__(message_type)
        self.lost = 0
        self._box = box

    def open(self) -> dict[str, Any]:
        """Return the message; what is lost from now on gets a notice of its own."""
        self._box.overflow = None
        return {"type": self.type, "lost": self.lost}


class Entry:
    """An item, and the `time.monotonic()` from which on it is not delivered."""

    __slots__ = ("deadline", "item")

    # Bytes that it counts.
    size = 0

    def __init__(self, deadline: float, item: MailboxItem) -> None:
        self.deadline = deadline
        self.item = item


class SizedEntry(Entry):
    """An entry that counts against the bytes of the process until the last mailbox lets go of it.

    That moment is the end of the object: no consumer has to count, and none can miscount.
    """

    __slots__ = ("_freed", "size")

    def __init__(self, deadline: float, item: MailboxItem, size: int, freed: deque[int]) -> None:
        super().__init__(deadline, item)
        self.size = size
        self._freed = freed

    def __del__(self) -> None:
        """Give back the bytes. A deque takes no lock: this may run anywhere, at any moment."""
        self._freed.append(self.size)


class Mailbox:
    """The items for one channel, and who waits for them.

    Waiters may be in different event loops, of different threads. That needs no lock: an item is
    there before a waiter is woken, and who queues up is there before it looks once more.

    Args:
        capacity: How many items it may hold; None: any number.
        on_overflow: The `type` of the message that tells of lost ones; None: none does.
        counters: Count items that have expired.
    """

    __slots__ = (
        "_counters",
        "_idle",
        "_items",
        "_on_overflow",
        "_waiters",
        "capacity",
        "given_up",
        "overflow",
        "reader",
        "turn",
        "watched",
    )

    def __init__(self, capacity: int | None, on_overflow: str | None, counters: Counters) -> None:
        self.capacity = capacity
        self._on_overflow = on_overflow
        self._counters = counters
        self._items: deque[Entry] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        # The notice that waits here.
        self.overflow: OverflowNotice | None = None
        # The task that received last, as far as it had to be looked at; None: none has received.
        self.reader: weakref.ref[asyncio.Task[Any]] | None = None
        # Whether the next `receive` has to be looked at.
        self.watched = True
        # Whether the last `receive` that waited was cancelled.
        self.given_up = False
        # The count of messages received in this process after the latest from here.
        self.turn = 0
        # The reader that had gone when that was seen, and when.
        self._idle: tuple[weakref.ref[asyncio.Task[Any]] | None, float] | None = None

    @property
    def size(self) -> int:
        """The number of items."""
        return len(self._items)

    @property
    def bytes(self) -> int:
        """The bytes that its items count, each in full."""
        return sum(entry.size for entry in list(self._items))

    @property
    def waiting(self) -> int:
        """The number of those who wait and have not been woken."""
        return len(self._waiters)

    def put(self, entry: Entry, loop: asyncio.AbstractEventLoop | None) -> None:
        """Add an item, and wake the first who waits.

        Args:
            entry: The item.
            loop: The event loop that runs in this thread.
        """
        self._items.append(entry)
        if self._waiters:
            self._wake(loop)

    def take(self) -> MailboxItem | None:
        """Remove and return the oldest item that has not expired, if there is one."""
        while self._items:
            try:
                entry = self._items.popleft()
            except IndexError:  # another thread was faster
                return None
            if entry.deadline > time.monotonic():
                return entry.item
            self._items.appendleft(entry)
            self.drop_expired(time.monotonic())
        return None

    def drop(self, keep: Entry | None = None) -> int | None:
        """Remove the oldest message, but not `keep`; return the bytes that it counted.

        Behind a hundred notices the next item goes whatever it is, so that these are bounded, too.
        """
        passed: list[Entry] = []
        size: int | None = None
        while self._items and size is None:
            try:
                entry = self._items.popleft()
            except IndexError:  # another thread was faster
                break
            if entry is keep:
                passed.append(entry)
                break
            if len(passed) < MAX_NOTICES and isinstance(entry.item, Notice):
                passed.append(entry)
            else:
                size = entry.size
                self._note_lost(1, passed)
        self._put_back(passed)
        return size

    def drop_expired(self, now: float) -> None:
        """Remove the items that have expired."""
        try:
            first = self._items[0]
        except IndexError:
            return
        if now < first.deadline < math.inf:
            return
        passed: list[Entry] = []
        expired = 0
        while self._items:
            try:
                entry = self._items.popleft()
            except IndexError:  # another thread was faster
                break
            if entry.deadline <= now:
                expired += 1
                continue
            passed.append(entry)
            if len(passed) > MAX_NOTICES or not isinstance(entry.item, Notice):
                break
        if expired:
            self._counters.expired += expired
            behind = [] if not passed or isinstance(passed[-1].item, Notice) else [passed.pop()]
            self._note_lost(expired, passed)
            passed += behind
        self._put_back(passed)

    def queue_up(self) -> asyncio.Future[None]:
        """Return a future that is done when there may be something to take."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self.given_up = False
        self._waiters.append(waiter)
        if self._items:
            self._wake(loop)
        return waiter

    def withdraw(self, waiter: asyncio.Future[None]) -> None:
        """Undo `queue_up` for one who will take nothing.

        Takes no lock: the garbage collector may end a `receive` anywhere, also within `put`.
        """
        self.given_up = True
        try:
            self._waiters.remove(waiter)
        except ValueError:
            if self._items:
                # It was woken already: the next one takes its place.
                self._wake(running_loop())

    def wake_all(self) -> None:
        """Make everyone who waits look again."""
        loop = running_loop()
        for _ in range(len(self._waiters)):
            self._wake(loop)

    def clear(self) -> None:
        """Drop all items."""
        self._items.clear()
        self.overflow = None

    def running_reader(self) -> asyncio.Task[Any] | None:
        """Return the task that received last, if it still runs."""
        task = None if self.reader is None else self.reader()
        return None if task is None or task.done() or task.get_loop().is_closed() else task

    def has_waiter(self) -> bool:
        """Return whether a `receive` waits, in an event loop that is not closed."""
        try:
            first = self._waiters[0]
        except IndexError:
            return False
        if first.get_loop().is_closed():
            self.wake_all()  # which drops those of closed loops
        return bool(self._waiters)

    def in_use(self) -> None:
        """Note that the channel has a consumer."""
        self._idle = None

    def idle_for(self, now: float) -> float:
        """Return the seconds since it was first seen that the last reader had gone."""
        if self._idle is None or self._idle[0] is not self.reader:
            self._idle = self.reader, now
            self.watched = True
        return now - self._idle[1]

    def _note_lost(self, count: int, before: list[Entry]) -> None:
        """Tell the consumer of lost messages, behind the entries that stay `before` them."""
        if self._on_overflow is None:
            return
        if self.overflow is None:
            self.overflow = OverflowNotice(self._on_overflow, self)
            before.append(Entry(math.inf, self.overflow))
        self.overflow.lost += count

    def _put_back(self, entries: list[Entry]) -> None:
        self._items.extendleft(reversed(entries))
        # One of another thread may have found nothing meanwhile, and wait.
        if self._items and self._waiters:
            self._wake(running_loop())

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


class Mailboxes:
    """The mailboxes of a process.

    Args:
        limit: How many bytes all of them may hold.
        overflowed: Called with the channel and a number whenever so many of its messages were
            dropped for lack of room.
        capacity: Returns how many items the mailbox of a channel may hold; None: any number.
        on_overflow: The `type` of the message that tells of lost ones; None: none does.
        counters: Count items that have expired.
    """

    def __init__(
        self,
        limit: int,
        overflowed: Callable[[str, int], object],
        *,
        capacity: Callable[[str], int | None] = lambda _: None,
        on_overflow: str | None = None,
        counters: Counters | None = None,
    ) -> None:
        self._limit = limit
        self._capacity = capacity
        self._on_overflow = on_overflow
        self._overflowed = overflowed
        self._counters = counters or Counters()
        # Not taken by anything that the garbage collector may run: that can be within `put`.
        self._lock = threading.Lock()
        self._boxes: dict[str, Mailbox] = {}
        # Returns the mailbox of a channel, or None.
        self.find = self._boxes.get
        # The bytes that were put, and those of messages that have gone since this was last reduced.
        self._used = 0
        self._freed: deque[int] = deque()

    def __len__(self) -> int:
        """Return the number of mailboxes."""
        return len(self._boxes)

    def __contains__(self, channel: object) -> bool:
        """Tell whether the channel has a mailbox."""
        return channel in self._boxes

    def has_any(self, address: str) -> bool:
        """Tell whether any channel whose name begins so has a mailbox."""
        return any(channel.startswith(address) for channel in list(self._boxes))

    @property
    def unread(self) -> int:
        """The number of items in all mailboxes."""
        return sum(box.size for box in list(self._boxes.values()))

    @property
    def bytes(self) -> int:
        """The bytes that all items count."""
        with self._lock:
            self._reduce()
            return self._used

    def open(self, channel: str) -> Mailbox:
        """Return the channel's mailbox, which is made if there is none."""
        box = self._boxes.get(channel)
        if box is None:
            with self._lock:
                box = self._boxes.setdefault(channel, self._make(channel))
        return box

    def put(
        self,
        channels: Collection[str],
        item: MailboxItem,
        deadline: float = math.inf,
        size: int = 0,
    ) -> None:
        """Add the item to the mailbox of each channel.

        Args:
            channels: The channels.
            item: What each of them gets.
            deadline: The `time.monotonic()` from which on it is not delivered.
            size: The bytes of a message; a notice counts none.
        """
        loop = running_loop()
        lost: Counter[str] = Counter()
        with self._lock:
            if size:
                size += MESSAGE_OVERHEAD + REFERENCE_SIZE * len(channels)
                entry: Entry = SizedEntry(deadline, item, size, self._freed)
                self._used += size
            else:
                entry = Entry(deadline, item)
            for channel in channels:
                box = self._boxes.get(channel)
                if box is None:
                    box = self._boxes[channel] = self._make(channel)
                elif (
                    box.capacity is not None and box.size >= box.capacity and box.drop() is not None
                ):
                    lost[channel] += 1
                box.put(entry, loop)
            self._reduce()
            if self._used > self._limit:
                self._make_room(entry, lost)
        for channel, count in lost.items():
            self._overflowed(channel, count)

    def discard(self, channel: str) -> None:
        """Drop the channel's mailbox and what is in it; who waits there looks again."""
        with self._lock:
            box = self._boxes.pop(channel, None)
        if box is not None:
            box.wake_all()
            # It and its notice refer to each other: what is in it would count until the garbage
            # collector runs, and living channels would lose their messages for it.
            box.clear()

    def waiting(self, channel: str) -> int:
        """Return how many wait for the channel and have not been woken."""
        box = self._boxes.get(channel)
        return 0 if box is None else box.waiting

    def wake_all(self) -> None:
        """Make everyone who waits look again."""
        for box in list(self._boxes.values()):
            box.wake_all()

    def sweep(self, owned: Container[str], patience: float) -> list[str]:
        """Drop what is not needed, and return the channels whose consumers have gone.

        Args:
            owned: The channels whose makers still run.
            patience: Seconds that a channel without a consumer is kept for a new one.
        """
        now = time.monotonic()
        gone: list[str] = []
        handled: list[tuple[str, Mailbox, asyncio.Task[Any]]] = []
        with self._lock:
            for channel, box in list(self._boxes.items()):
                if box.size:
                    box.drop_expired(now)
                if box.has_waiter() or channel in owned:
                    box.in_use()
                elif box.reader is None:
                    self._drop_unused(channel, box)
                elif task := box.running_reader():
                    handled.append((channel, box, task))
                elif box.idle_for(now) >= patience:
                    gone.append(channel)
            latest = self._latest() if handled else {}
            for channel, box, task in handled:
                if latest.get(task, box) is box:
                    box.in_use()
                elif box.idle_for(now) >= patience:
                    gone.append(channel)
        return gone

    def clear(self) -> None:
        """Drop all items; those who wait go on waiting."""
        with self._lock:
            for box in self._boxes.values():
                box.clear()

    def _make(self, channel: str) -> Mailbox:
        return Mailbox(self._capacity(channel), self._on_overflow, self._counters)

    def _drop_unused(self, channel: str, box: Mailbox) -> None:
        # Removed first and looked at then: so one who queues up meanwhile is either seen here, or
        # sees that the mailbox has gone.
        del self._boxes[channel]
        # A notice that is left alone stays for no one: none has ever received here.
        if box.size > (box.overflow is not None) or box.waiting:
            self._boxes[channel] = box

    def _latest(self) -> dict[asyncio.Task[Any], Mailbox]:
        """Return the mailbox that each running task receives from: where it was last."""
        latest: dict[asyncio.Task[Any], Mailbox] = {}
        for box in self._boxes.values():
            task = box.running_reader()
            if task is not None:
                other = latest.setdefault(task, box)
                if (box.waiting > 0, box.turn) > (other.waiting > 0, other.turn):
                    latest[task] = box
        return latest

    def _reduce(self) -> None:
        freed = self._freed
        while freed:
            self._used -= freed.popleft()

    def _make_room(self, newest: Entry, lost: Counter[str]) -> None:
        """Drop the oldest of the fullest mailboxes, but not the newest entry."""
        goal = self._limit - self._limit // FREED_PART
        fullest = [(-box.bytes, channel) for channel, box in self._boxes.items() if box.size]
        heapq.heapify(fullest)
        while self._used > goal and fullest:
            minus_size, channel = heapq.heappop(fullest)
            box, size = self._boxes[channel], -minus_size
            next_size = -fullest[0][0] if fullest else 0
            dropped: int | None = 0
            while self._used > goal and size >= next_size:
                dropped = box.drop(newest)
                if dropped is None:
                    break
                lost[channel] += 1
                size -= dropped
                self._reduce()
            if dropped is not None:
                heapq.heappush(fullest, (-size, channel))


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
