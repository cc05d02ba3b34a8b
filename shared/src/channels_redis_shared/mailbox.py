"""Bounded queues of a process, one for each of its channels, on which consumers wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """The items for one channel, and who waits for them.

    Any thread may put; waiters may be in different event loops. Needs no lock: an item is in the
    deque before a waiter is woken, and a waiter looks once more after it has queued up.
    """

    __slots__ = ("_items", "_waiters", "users")

    def __init__(self) -> None:
        self._items: deque[tuple[float, Item]] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        # How many receivers are at work here: a mailbox in use must not be swept away.
        self.users = 0

    @property
    def size(self) -> int:
        """How many items are there."""
        return len(self._items)

    @property
    def waiting(self) -> int:
        """How many receivers wait and have not been woken."""
        return len(self._waiters)

    def put(self, item: Item, deadline: float) -> None:
        """Add the item, and wake the first who waits.

        Args:
            item: What to add.
            deadline: The `time.monotonic()` after which nobody shall get it.
        """
        self._items.append((deadline, item))
        self._wake()

    def take(self) -> Item | None:
        """Remove and return the oldest item that has not expired, if there is one."""
        while self._items:
            try:
                deadline, item = self._items.popleft()
            except IndexError:  # another thread was faster
                return None
            if deadline > time.monotonic():
                return item
        return None

    def surplus(self) -> Iterator[Item]:
        """Remove and return the newest items, those that nobody is waiting for."""
        while len(self._items) > len(self._waiters):
            try:
                yield self._items.pop()[1]
            except IndexError:
                return

    async def wait(self, queued: Callable[[], object]) -> None:
        """Return when there may be something to take, or after `wake_all`.

        Args:
            queued: Called when `waiting` has counted this call.
        """
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            if self._items:
                self._wake()
            queued()
            await waiter
        except BaseException:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif self._items:
                # This one was woken for an item that it won't take.
                self._wake()
            raise

    def wake_all(self) -> None:
        """Make everyone who waits look again."""
        for _ in range(len(self._waiters)):
            self._wake()

    def drop_expired(self) -> int:
        """Remove the items that have expired and return their number."""
        now, dropped = time.monotonic(), 0
        while self._items and self._items[0][0] <= now:
            self._items.popleft()
            dropped += 1
        return dropped

    def _wake(self) -> None:
        while self._waiters:
            try:
                waiter = self._waiters.popleft()
            except IndexError:
                return
            if _tell(waiter):
                return


def _tell(waiter: asyncio.Future[None]) -> bool:
    """Wake the waiter; return whether it was there to be woken."""
    if waiter.done():
        return False
    loop = waiter.get_loop()
    try:
        if asyncio.get_running_loop() is loop:
            waiter.set_result(None)
            return True
    except RuntimeError:  # no loop runs in this thread
        pass
    try:
        loop.call_soon_threadsafe(_set, waiter)
    except RuntimeError:  # its loop is closed
        return False
    return True


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Mailboxes(Generic[Item]):
    """The mailboxes of a process.

    Args:
        capacity: Returns how many items the mailbox of a channel may hold.
        overflowed: Called with the channel whenever an item was dropped, the oldest one, since
            its mailbox was full.
    """

    def __init__(self, capacity: Callable[[str], int], overflowed: Callable[[str], object]) -> None:
        self._capacity = capacity
        self._overflowed = overflowed
        self._lock = threading.Lock()
        self._boxes: dict[str, Mailbox[Item]] = {}
        # When the last receiver of a channel was cancelled: its consumer is probably gone.
        self._left: dict[str, float] = {}

    def __len__(self) -> int:
        """Return the number of mailboxes."""
        return len(self._boxes)

    def enter(self, channel: str) -> Mailbox[Item]:
        """Return the channel's mailbox, which stays until `leave`."""
        with self._lock:
            box = self._boxes.get(channel)
            if box is None:
                box = self._boxes[channel] = Mailbox()
            box.users += 1
            self._left.pop(channel, None)
        return box

    def leave(self, channel: str, box: Mailbox[Item], *, cancelled: bool) -> None:
        """Undo one `enter`; `cancelled` tells that the receiver did not get what it waited for."""
        with self._lock:
            box.users -= 1
            if cancelled and not box.users:
                self._left[channel] = time.monotonic()

    def put(self, channel: str, item: Item, deadline: float) -> None:
        """Add the item to the channel's mailbox, dropping its oldest one if it is full."""
        with self._lock:
            box = self._boxes.get(channel)
            if box is None:
                box = self._boxes[channel] = Mailbox()
            full = box.size > 0 and box.size >= self._capacity(channel)
            if full:
                box.take()
            box.put(item, deadline)
        if full:
            self._overflowed(channel)

    def waiting(self, channel: str) -> int:
        """Return how many receivers wait for the channel."""
        box = self._boxes.get(channel)
        return 0 if box is None else box.waiting

    def wake_all(self) -> None:
        """Make every receiver look again."""
        for box in list(self._boxes.values()):
            box.wake_all()

    def sweep(self, patience: float) -> list[str]:
        """Drop what nobody needs, and return the channels whose receivers have gone.

        Args:
            patience: Seconds that a channel whose `receive` was cancelled is kept for a new one.
        """
        with self._lock:
            for channel, box in list(self._boxes.items()):
                box.drop_expired()
                if not box.users and not box.size:
                    del self._boxes[channel]
            before = time.monotonic() - patience
            gone = [channel for channel, left in self._left.items() if left < before]
            for channel in gone:
                del self._left[channel]
        return gone

    def clear(self) -> None:
        """Drop all items; receivers go on waiting."""
        with self._lock:
            for box in self._boxes.values():
                while box.size:
                    box.take()
