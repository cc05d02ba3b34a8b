"""Gives `receive` its messages: the mailboxes of a process, and the receivers that fill them."""

from __future__ import annotations

import asyncio
import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from ._shared.transport.errors import OutageLog
from ._shared.transport.sharding import shard_of
from .keys import non_local
from .protocol.dispatch import Dispatcher, ProcessDispatcher, WorkerDispatcher
from .protocol.inbox import Inbox
from .receiver import Line, Receiver

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._shared.concurrency.loop_local import LoopLocal
    from ._shared.delivery.consumers import ConsumerTracker
    from .config import QueueSettings
    from .loop_state import LoopState
    from .protocol.local_groups import LocalGroups

logger = logging.getLogger(__package__)

# Seconds between two looks whether the event loop of a receiver, in another thread, still runs.
LOOK = 2


class ReceiverPool:
    """Receives for all consumers of this process, in whichever event loops they run.

    Args:
        settings: The layer's options.
        consumers: Who consumes the channels of this process, and their mailboxes.
        memberships: The local members of groups.
        homes: What runs in each event loop: a receiver is added where it was first needed.
        deserted: Called with a virtual channel that has no members any more.
    """

    def __init__(
        self,
        settings: QueueSettings,
        consumers: ConsumerTracker,
        local_groups: LocalGroups,
        loops: LoopLocal[LoopState],
        deserted: Callable[[str], object],
    ) -> None:
        self._settings = settings
        self._mailboxes = consumers.mailboxes
        self._consumers = consumers
        self._local_groups = local_groups
        self._loops = loops
        self._deserted = deserted
        self._outages = [
            OutageLog(logger, str(connector.host)) for connector in settings.connectors
        ]
        self._lock = threading.Lock()
        self._receivers: dict[str, list[Receiver]] = {}
        # Those who wait for messages of general channels.
        self._workers: dict[str, WorkerDispatcher] = {}

    async def receive(self, channel: str) -> dict[str, Any]:
        """Return the next message of a channel.

        A cancelled call loses nothing: the message is taken from the mailbox in the last step.

        Raises:
            redis.exceptions.RedisError: The settings do not fit the server: a wrong password, a
                missing right. A server that is away is waited for.
        """
        if "!" not in channel:
            message = await self._from_queue(channel)
            self._settings.counters.received += 1
            return message
        find = self._mailboxes.find
        box = find(channel) or self._mailboxes.open(channel)
        if box.tracks_reader:
            self._consumers.track_reader(channel, box)
        parcel = box.take()
        while parcel is None:
            waiter = box.add_waiter()
            try:
                # A mailbox that was swept away before we queued up gets nothing any more.
                if find(channel) is box:
                    if self._ensure(channel):
                        await self._watch_receivers(channel, waiter)
                    await waiter
                else:
                    # It may come back, if it was looked at just then.
                    box.remove_waiter(waiter)
            except BaseException:
                box.remove_waiter(waiter)
                raise
            box = find(channel) or self._mailboxes.open(channel)
            if box.tracks_reader:
                self._consumers.track_reader(channel, box)
            parcel = box.take()
            if parcel is None:
                self._raise_failure(channel)
        counters = self._settings.counters
        box.last_receipt = counters.received = counters.received + 1
        return parcel.copy()

    def knows(self, channel: str) -> bool:
        """Tell whether the channel is one of those that were received on lately."""
        return channel in self._workers or channel in self._mailboxes

    def clear(self) -> None:
        """Drop all messages that are in this process."""
        self._mailboxes.clear()
        for workers in list(self._workers.values()):
            workers.clear()

    async def _from_queue(self, channel: str) -> dict[str, Any]:
        """Return the next message of a general channel."""
        while True:
            workers = self._workers.get(channel)
            if workers is None:
                workers = WorkerDispatcher(channel, self._settings, partial(self._poke, channel))
                workers = self._workers.setdefault(channel, workers)
            taken = workers.take()
            if taken is None:
                waiter = workers.queue_up()
                try:
                    # As above: what was forgotten before we queued up gets nothing any more.
                    if self._workers.get(channel) is workers:
                        if self._ensure(channel):
                            await self._watch_receivers(channel, waiter)
                        taken = await waiter
                    else:
                        workers.withdraw(waiter)
                        continue
                except BaseException:
                    workers.withdraw(waiter)
                    raise
            if taken is None:
                self._raise_failure(channel)
            elif (message := taken.open()) is not None:
                return message
            else:
                self._settings.counters.expired += 1

    async def _watch_receivers(self, channel: str, waiter: asyncio.Future[Any]) -> None:
        """Wait while the channel's receiver is in another thread's loop, which may just stop."""
        while not waiter.done():
            await asyncio.wait([waiter], timeout=LOOK)
            if not self._ensure(channel):
                return

    @property
    def reconnects(self) -> int:
        """How many connections took the place of a lost one."""
        return sum(outages.reconnects for outages in self._outages)

    @property
    def outage_seconds(self) -> float:
        """How long all outages of all hosts lasted."""
        return sum(outages.seconds for outages in self._outages)

    def _ensure(self, channel: str) -> bool:
        """Make sure that the message keys of a channel are read, and that readers know who waits.

        Returns:
            Whether one of the readers is in another event loop.
        """
        # keys.non_local, without its call: this is on every consumer's way.
        address = channel[: channel.find("!") + 1] or channel
        receivers = self._receivers.get(address, ())
        loop = asyncio.get_running_loop()
        elsewhere = False
        for receiver in receivers:
            if receiver.ended or not receiver.loop.is_running():
                break
            if receiver.loop is not loop:
                elsewhere = True
            if address is channel or receiver.idle:
                receiver.poke()
        else:
            if receivers:
                return elsewhere
        with self._lock:
            # Those who wait for a general channel that was forgotten just now are woken by that.
            if "!" in address or address in self._workers:
                self._replace(address)
        return any(receiver.loop is not loop for receiver in self._receivers.get(address, ()))

    def _poke(self, channel: str) -> None:
        for receiver in self._receivers.get(channel, ()):
            receiver.poke()

    def _replace(self, address: str) -> None:
        """Start the receivers that an address lacks."""
        count = len(self._settings.connectors)
        # A sender picks any shard for a general channel, so all are read.
        shards = [shard_of(address, count)] if "!" in address else range(count)
        nobody: list[Receiver | None] = [None] * len(shards)
        receivers = self._receivers.get(address, nobody)
        self._receivers[address] = [
            self._start(address, shard, receiver)
            if receiver is None or receiver.ended or not receiver.loop.is_running()
            else receiver
            for shard, receiver in zip(shards, receivers, strict=True)
        ]

    def _start(self, address: str, shard: int, before: Receiver | None) -> Receiver:
        settings, loop_state = self._settings, self._loops.get()
        beside = settings.keys.messages(address)
        inherits = before is not None and not before.loop.is_running()
        if before is not None and inherits:
            # Nobody has finished what it had begun: the server may have moved messages into its
            # claims, and the first take of one that goes on with them returns these.
            before.replace()
            inbox = before.inbox
        else:
            inbox = Inbox(beside, settings.expiry, self._delivery(address), settings.counters)
        connector = settings.connectors[shard].to_key(beside.key)
        line = Line(connector, loop_state.shards[shard], self._outages[shard])
        receiver = Receiver(inbox, line, lambda: self._ended(address), inherits=inherits)
        loop_state.keep(receiver)
        return receiver

    def _ended(self, address: str) -> None:
        """Forget an address if its receivers are settled; let waiting calls look for others.

        A name that is used once, such as that of a channel for one answer, must leave nothing
        behind.
        """
        with self._lock:
            receivers = self._receivers.get(address, ())
            # Others have failed, of which those who wait have yet to learn, or were stopped: the
            # next one goes on with what they have not acknowledged.
            settled = all(receiver.settled for receiver in receivers)
            if settled:
                self._receivers.pop(address, None)
            workers = self._workers.get(address)
            if settled and workers is not None:
                del self._workers[address]
        if workers is not None:
            workers.wake_all()
        elif not settled:
            self._mailboxes.wake_all()

    def _delivery(self, address: str) -> Dispatcher:
        settings = self._settings
        if "!" not in address:
            return self._workers[address]
        return ProcessDispatcher(
            address, settings, self._mailboxes, self._local_groups, self._deserted
        )

    def _raise_failure(self, channel: str) -> None:
        for receiver in self._receivers.get(non_local(channel), ()):
            if receiver.failure is not None:
                raise receiver.failure
