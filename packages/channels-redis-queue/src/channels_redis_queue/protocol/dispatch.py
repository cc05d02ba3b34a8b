"""Decides which channels get what a receiver took from its message key. Does no I/O."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from .. import keys
from .._shared.concurrency.loop_local import running_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._shared.delivery.mailboxes import Mailboxes
    from ..config import QueueSettings
    from ..envelope import Envelope
    from .acks import AckTracker, Claim
    from .local_groups import LocalGroups


class UnackedMessage:
    """A message of a general channel, which stays claimed until a consumer has it."""

    __slots__ = ("_acks", "_claim", "_deadline", "_decoded")

    def __init__(self, decoded: Envelope, acks: AckTracker, claim: Claim, deadline: float) -> None:
        self._decoded = decoded
        self._acks = acks
        self._claim = claim
        self._deadline = deadline

    def open(self) -> dict[str, Any] | None:
        """Acknowledge the message, and return it; None if it has expired meanwhile."""
        self._acks.acknowledge(self._claim)
        return self._decoded.copy() if self._deadline > time.monotonic() else None

    def requeue(self) -> None:
        """Let another reader have the message."""
        self._acks.requeue(self._claim)


class Dispatcher(Protocol):
    """What a receiver asks about its message key."""

    channel: str

    def wanted(self) -> int:
        """Return how many messages to take now."""

    def is_unused(self) -> bool:
        """Tell whether nothing here needs what may come, though it is wanted."""

    def message(self, claim: Claim, acks: AckTracker, lifetime: float) -> None:
        """Hand a message out; it lives `lifetime` seconds more."""

    def leave(self, leave: bytes) -> None:
        """Carry out what a process wrote about a channel that leaves a group."""

    def came_back(self) -> None:
        """Note that a call waits again, at once after none did."""

    def stayed_away(self) -> None:
        """Note that no call waits any more."""


class ProcessDispatcher:
    """Delivers what is in a process's message key: to its channels, and its members of groups.

    Args:
        address: The part of the channels' names up to and including the `!`.
        settings: The layer's options.
        mailboxes: The channels' mailboxes.
        memberships: The local members of groups.
        group_empty: Called with a virtual channel that has no members any more.
    """

    def __init__(
        self,
        address: str,
        settings: QueueSettings,
        mailboxes: Mailboxes,
        local_groups: LocalGroups,
        group_empty: Callable[[str], object],
    ) -> None:
        self.channel = address
        self._batch = settings.largest_capacity
        self._settings = settings
        self._mailboxes = mailboxes
        self._local_groups = local_groups
        self._group_empty = group_empty

    def wanted(self) -> int:
        """Return the size of a batch: this key has no other reader."""
        return self._batch

    def is_unused(self) -> bool:
        """Tell whether no channel of the address is received on, or a member of a group."""
        address = self.channel
        return not self._mailboxes.has_any(address) and not any(
            virtual.startswith(address) for virtual in self._local_groups.virtuals()
        )

    def message(self, claim: Claim, acks: AckTracker, lifetime: float) -> None:
        """Put a message into the mailbox of each channel it is for."""
        acks.acknowledge(claim)
        decoded = decode_message(self._settings, claim.message, self.channel)
        if decoded is None:
            return
        names = decoded.names
        if len(names) > 1 or keys.is_virtual(names[0]):
            names = self._spread(names)
        if decoded.excluded:
            names = [name for name in names if name not in decoded.excluded]
        self._mailboxes.put(names, decoded, time.monotonic() + lifetime, len(claim.message))

    def leave(self, leave: bytes) -> None:
        """End a membership, unless it was renewed after the leave."""
        try:
            group, channel, at = leave.decode().split("\0")
            behind = self.channel if self._settings.groups_by_process else channel
            virtual = keys.virtual_channel(behind, group)
            self._local_groups.leave(virtual, channel, float(at))
        except ValueError:
            self._settings.faults.warning(
                "Dropped a leave of %s that can't be read: %s", self.channel, leave
            )
            return
        if not self._local_groups.members(virtual):
            self._group_empty(virtual)

    def came_back(self) -> None:
        """Do nothing: all messages are for this process, whoever waits."""

    def stayed_away(self) -> None:
        """Do nothing, likewise."""

    def _spread(self, names: list[str]) -> list[str]:
        """Return the channels behind the names; one that is named twice gets one copy."""
        channels: dict[str, None] = {}
        for name in names:
            if keys.is_virtual(name):
                members = self._local_groups.members(name)
                channels.update(dict.fromkeys(members))
                if not members:
                    self._group_empty(name)
            else:
                channels[name] = None
        return list(channels)


class WorkerDispatcher:
    """Delivers what is in a general channel's keys: to the `receive` calls that wait for it.

    Messages stay claimed until one has them. One who comes back at once gets a few taken ahead, so
    as not to pay a round trip for each; if it does not come, they go back to the other workers.

    Waiters may be in different event loops, of different threads, and receivers too. That needs no
    lock: a message is there before a waiter is looked for, and who queues up is there before it
    looks once more.

    Args:
        channel: The channel.
        settings: The layer's options.
        wake: Called with the channel when its receivers have something to give back.
    """

    # How many to take ahead at most: as many are lost if the process is killed just then, and
    # as many wait while the worker's event loop is blocked.
    MAX_PREFETCH = 5

    def __init__(
        self, channel: str, settings: QueueSettings, wake: Callable[[str], object]
    ) -> None:
        self.channel = channel
        self._settings = settings
        self._wake = wake
        self._ahead = 0
        # Taken ahead. There is nothing here while anyone waits.
        self._spare: deque[UnackedMessage] = deque()
        self._waiters: deque[asyncio.Future[UnackedMessage | None]] = deque()
        # The event loop of the first waiter, and whether others have come from other loops.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._mixed = False

    def wanted(self) -> int:
        """Return how many receivers wait, and some more if they are quick."""
        waiting = len(self._waiters)
        if waiting and self._mixed:
            waiting = sum(waiter.get_loop().is_running() for waiter in list(self._waiters))
        return waiting + self._ahead if waiting else 0

    def is_unused(self) -> bool:
        """Tell that what is wanted is waited for."""
        return False

    def message(self, claim: Claim, acks: AckTracker, lifetime: float) -> None:
        """Hand a message to one who waits, or keep it if one is to come soon."""
        if not self._waiters and len(self._spare) >= self._ahead:
            acks.requeue(claim)
            return
        decoded = decode_message(self._settings, claim.message, self.channel)
        if decoded is None:
            acks.acknowledge(claim)
            return
        taken = UnackedMessage(decoded, acks, claim, time.monotonic() + lifetime)
        if not self._hand_over(taken):
            self._spare.append(taken)
            self._match()

    def leave(self, leave: bytes) -> None:
        """Do nothing: a general channel leaves a group by its plain name."""

    def came_back(self) -> None:
        """Note that a receiver waits again at once."""
        self._ahead = min(2 * self._ahead + 1, self.MAX_PREFETCH)

    def stayed_away(self) -> None:
        """Note that none did: what was taken ahead is for others."""
        self._ahead = 0
        while self._spare:
            try:
                taken = self._spare.pop()
            except IndexError:  # another thread was faster
                return
            taken.requeue()

    def take(self) -> UnackedMessage | None:
        """Return a message that was taken ahead, if there is one."""
        try:
            return self._spare.popleft() if self._spare else None
        except IndexError:  # another thread was faster
            return None

    def queue_up(self) -> asyncio.Future[UnackedMessage | None]:
        """Return a future of a message; of None if the caller should look again who receives."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._mixed = self._loop is not None
            self._loop = self._loop or loop
        waiter: asyncio.Future[UnackedMessage | None] = loop.create_future()
        self._waiters.append(waiter)
        if self._spare:
            self._match()
        return waiter

    def withdraw(self, waiter: asyncio.Future[UnackedMessage | None]) -> None:
        """Undo `queue_up` for one who will take nothing: another one gets what it was given.

        The garbage collector may end a `receive` whose loop was closed, where no loop runs.
        """
        with contextlib.suppress(ValueError):
            self._waiters.remove(waiter)
        if not waiter.done():
            with contextlib.suppress(RuntimeError):  # its loop is closed
                waiter.cancel()
        elif not waiter.cancelled() and (taken := waiter.result()) is not None:
            self._pass_on(taken)

    def wake_all(self) -> None:
        """Make everyone who waits look again who receives."""
        for waiter in list(self._waiters):
            with contextlib.suppress(RuntimeError):  # its loop is closed
                waiter.get_loop().call_soon_threadsafe(self._give, waiter, None)

    def clear(self) -> None:
        """Drop what was taken ahead."""
        while (taken := self.take()) is not None:
            taken.open()

    def _match(self) -> None:
        """Hand what was taken ahead to those who wait after all."""
        while self._waiters and (taken := self.take()) is not None:
            self._pass_on(taken)

    def _pass_on(self, taken: UnackedMessage) -> None:
        if self._hand_over(taken):
            return
        if self._spare:
            # In its place, before those that were taken ahead with it. They all go back soon.
            self._spare.appendleft(taken)
            self._match()
        else:
            taken.requeue()
            self._wake(self.channel)

    def _hand_over(self, taken: UnackedMessage) -> bool:
        """Give the message to the first who can take it; return whether there was one."""
        here = running_loop()
        stopped = []
        handed_over = False
        while self._waiters and not handed_over:
            try:
                waiter = self._waiters.popleft()
            except IndexError:  # another thread was faster
                break
            loop = waiter.get_loop()
            if waiter.done():
                continue
            if loop is here:
                waiter.set_result(taken)
                handed_over = True
            elif loop.is_running():
                with contextlib.suppress(RuntimeError):  # its loop is closed
                    loop.call_soon_threadsafe(self._give, waiter, taken)
                    handed_over = True
            elif not loop.is_closed():
                stopped.append(waiter)
        self._waiters.extend(stopped)
        return handed_over

    def _give(
        self, waiter: asyncio.Future[UnackedMessage | None], taken: UnackedMessage | None
    ) -> None:
        """Give a waiter of this loop what was found in another thread."""
        if not waiter.done():
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiter)
            waiter.set_result(taken)
        elif taken is not None:
            self._pass_on(taken)


def decode_message(settings: QueueSettings, data: bytes, channel: str) -> Envelope | None:
    """Return the message in these bytes; log, count and return None if there is none."""
    try:
        decoded = settings.decoder.decode(data)
        if "!" in channel and not decoded.names:
            raise ValueError("it names no channel")  # noqa: TRY301
        if decoded.names and "!" not in channel and channel not in decoded.names:
            raise ValueError("it is for another channel")  # noqa: TRY301
    except Exception as error:  # noqa: BLE001 - whatever the serializer of the user raises
        settings.counters.undecodable += 1
        settings.faults.warning("Dropped a message of %s that can't be read: %s", channel, error)
        return None
    return decoded
