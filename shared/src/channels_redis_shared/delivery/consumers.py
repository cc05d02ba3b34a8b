"""Decide which channels of a process have a consumer.

A channel ends with its consumer, not with a cancelled `receive`: a loop that polls with a timeout
cancels one each time. A channel has a consumer if the task that created it runs, if a `receive` of
it waits, or if the task that received last runs and has not received elsewhere since.

A consumer of Channels creates its channel in its own task, and receives in others, one for each
message. It cancels the last of them when it ends, unless that already has its message, as when a
handler failed. So the end of the creator says more than that of any receive.
"""

from __future__ import annotations

import asyncio
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from ..clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .mailboxes import Mailbox, Mailboxes

# Seconds between two sweeps.
SWEEP_INTERVAL = 2


class ConsumerTracker:
    """The consumers of the channels of a broker.

    A task counts as the creator of its first channel only. One that creates more is no consumer,
    and must not keep them all for as long as it runs.

    Args:
        mailboxes: The mailboxes of the channels.
        channel_expiry: Seconds that a channel without a consumer is kept for a new one.
        end_channels: Called with channels whose consumers have ended.
    """

    def __init__(
        self,
        mailboxes: Mailboxes,
        channel_expiry: float,
        end_channels: Callable[[list[str]], object],
    ) -> None:
        self.mailboxes = mailboxes
        self._channel_expiry = channel_expiry
        # Called in order.
        self._observers = [end_channels]
        self._tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        # The running creator of each channel. A task that is collected unfinished, with a loop
        # that was closed without cleanup, runs no callbacks: hence the weak reference's own.
        self._creators: dict[str, weakref.ref[asyncio.Task[Any]]] = {}

    def track_creator(self, channel: str) -> None:
        """Make the running task the channel's creator, unless it has created another before."""
        task = asyncio.current_task()
        if task is not None and task not in self._tasks:
            self._tasks.add(task)
            self._creators[channel] = weakref.ref(task, partial(self._creators.pop, channel))
            task.add_done_callback(partial(self._creator_ended, channel))

    def track_task(self, channel: str, mailbox: Mailbox) -> None:
        """Note who received last; called until it is clear whose end counts."""
        task = asyncio.current_task()
        if task is None:
            return
        before = mailbox.task
        mailbox.task = weakref.ref(task)
        # The same task again, or one for each message, which would cost each message this call.
        if before is not None and (before() is task or channel in self._creators):
            mailbox.tracks_task = False

    def has_consumer(self, channel: str) -> bool:
        """Return whether a channel has a consumer, or has had none yet."""
        mailbox = self.mailboxes.find(channel)
        return (
            mailbox is None
            or channel in self._creators
            or mailbox.waiting > 0
            or mailbox.task is None
            or mailbox.running_task() is not None
        )

    def is_consumed(self, channel: str) -> bool:
        """Return whether a consumer of a channel runs in another task than this one."""
        mailbox, creator = self.mailboxes.find(channel), self._creators.get(channel)
        running = {None if creator is None else creator()}
        if mailbox is not None:
            if mailbox.has_waiter():
                return True
            running.add(mailbox.running_task())
        return bool(running - {None, asyncio.current_task()})

    def knows(self, channel: str) -> bool:
        """Return whether a channel's creator runs, or it has been received on or sent to."""
        return channel in self._creators or self.mailboxes.find(channel) is not None

    def sweep(self) -> None:
        """Drop expired messages, and end channels that have been without a consumer for long."""
        self.mailboxes.drop_expired()
        without_waiter: list[tuple[str, Mailbox]] = []
        for channel, mailbox in self.mailboxes.items():
            if mailbox.has_waiter() or channel in self._creators:
                mailbox.mark_in_use()
            elif mailbox.task is None:
                self.mailboxes.forget_unused(channel)
            else:
                without_waiter.append((channel, mailbox))
        latest = _latest(self.mailboxes.items()) if without_waiter else {}
        now = monotonic()
        gone: list[str] = []
        for channel, mailbox in without_waiter:
            task = mailbox.running_task()
            if task is not None and latest.get(task, mailbox) is mailbox:
                mailbox.mark_in_use()
            elif mailbox.idle_for(now) >= self._channel_expiry:
                gone.append(channel)
        if gone:
            self._end_channels(gone)

    def observe(self, end_channels: Callable[[list[str]], object]) -> None:
        """Call a function, too, with channels whose consumers have ended."""
        self._observers.append(end_channels)

    def _end_channels(self, channels: list[str]) -> None:
        for observer in self._observers:
            observer(channels)

    def _creator_ended(self, channel: str, _task: object) -> None:
        self._creators.pop(channel, None)
        mailbox = self.mailboxes.find(channel)
        # Synchronous code creates a channel in one task and receives in later ones.
        if mailbox is None or mailbox.task is None:
            return
        mailbox.tracks_task = True
        if mailbox.receive_cancelled and not mailbox.waiting:
            self._end_channels([channel])


def _latest(mailboxes: Iterable[tuple[str, Mailbox]]) -> dict[asyncio.Task[Any], Mailbox]:
    """Return the mailbox from which each running task received last."""
    latest: dict[asyncio.Task[Any], Mailbox] = {}
    for _, mailbox in mailboxes:
        task = mailbox.running_task()
        if task is not None:
            other = latest.setdefault(task, mailbox)
            if (mailbox.waiting > 0, mailbox.last_receipt) > (
                other.waiting > 0,
                other.last_receipt,
            ):
                latest[task] = mailbox
    return latest
