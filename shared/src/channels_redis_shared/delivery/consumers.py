"""Decides which channels of a process have a consumer, and which have lost theirs.

A channel ends with its consumer, not with a cancelled `receive`: a loop that polls with a timeout
cancels one each time. Three things show that a channel has a consumer: the task that made it runs;
a `receive` of it waits; the task that received last runs, and has not received elsewhere since.

A consumer of Channels makes its channel in its own task, and receives in others, one for each
message. It cancels the last of them when it ends; but not if that has its message already, as when
a handler failed. So the end of the task that made a channel tells more than any receive.
"""

from __future__ import annotations

import asyncio
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .mailboxes import Mailbox, Mailboxes

# Seconds between two looks at what has gone.
SWEEP_INTERVAL = 2


class ConsumerTracker:
    """The consumers of the channels of a process. Threads may share it.

    A task counts as the owner of the first channel that it makes. One that makes more is no
    consumer, and must not keep them all for as long as it runs.

    Args:
        mailboxes: The mailboxes of the channels.
        patience: Seconds that a channel without a consumer is kept for a new one.
        gone: Called with channels that go.
    """

    def __init__(
        self, mailboxes: Mailboxes, patience: float, gone: Callable[[list[str]], object]
    ) -> None:
        self.mailboxes = mailboxes
        self._patience = patience
        self._gone = gone
        self._owners: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        # The channels whose owners run. One that is collected unfinished, with a loop that was
        # closed bare, calls nothing when it ends.
        self._owned: dict[str, weakref.ref[asyncio.Task[Any]]] = {}

    def made(self, channel: str) -> None:
        """Note that the running task has made a channel."""
        task = asyncio.current_task()
        if task is not None and task not in self._owners:
            self._owners.add(task)
            self._owned[channel] = weakref.ref(task, partial(self._owned.pop, channel))
            task.add_done_callback(partial(self._owner_ended, channel))

    def reads(self, channel: str, box: Mailbox) -> None:
        """Note which task receives; called until it is clear whose end counts."""
        task = asyncio.current_task()
        if task is None:
            return
        before = box.reader
        box.reader = weakref.ref(task)
        # The same task again, or one for each message: looking at each would cost every message.
        if before is not None and (before() is task or channel in self._owned):
            box.watched = False

    def is_alive(self, channel: str) -> bool:
        """Return whether a channel has a consumer, or has had none yet."""
        box = self.mailboxes.find(channel)
        return (
            box is None
            or channel in self._owned
            or box.waiting > 0
            or box.reader is None
            or box.running_reader() is not None
        )

    def sweep(self) -> None:
        """Drop messages that have expired, and end channels that have been without a consumer."""
        gone = self.mailboxes.sweep(self._owned, self._patience)
        if gone:
            self._gone(gone)

    def _owner_ended(self, channel: str, _task: object) -> None:
        self._owned.pop(channel, None)
        box = self.mailboxes.find(channel)
        # Made in a task and received from later, as synchronous code does: that was no consumer.
        if box is None or box.reader is None:
            return
        box.watched = True
        if box.given_up and not box.waiting:
            self._gone([channel])
