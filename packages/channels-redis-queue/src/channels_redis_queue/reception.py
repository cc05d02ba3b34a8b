"""Gives `receive` its messages: the mailboxes of a process, and the receivers that fill them."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from ._shared.outages import OutageLog
from ._shared.sharding import shard_of
from .delivery import Delivery, ToProcess, ToWorkers, give_back
from .intake import Intake
from .keys import non_local
from .receiver import Line, Receiver

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ._shared.consumers import ConsumerTracker
    from ._shared.loops import LoopLocal
    from ._shared.mailbox import Mailbox
    from .home import Home
    from .memberships import Memberships
    from .settings import Settings

logger = logging.getLogger(__package__)


class Reception:
    """Receives for all consumers of this process, in whichever event loops they run.

    Args:
        settings: The layer's options.
        consumers: Who consumes the channels of this process, and their mailboxes.
        memberships: The local members of groups.
        homes: What runs in each event loop: a receiver is added where it was first needed.
        deserted: Called with a virtual channel when nobody is behind it any more.
    """

    def __init__(
        self,
        settings: Settings,
        consumers: ConsumerTracker,
        memberships: Memberships,
        homes: LoopLocal[Home],
        deserted: Callable[[str], object],
    ) -> None:
        self._settings = settings
        self._mailboxes = consumers.mailboxes
        self._consumers = consumers
        self._memberships = memberships
        self._homes = homes
        self._deserted = deserted
        self._outages = [
            OutageLog(logger, str(connector.host)) for connector in settings.connectors
        ]
        self._lock = threading.Lock()
        self._receivers: dict[str, list[Receiver]] = {}

    async def receive(self, channel: str) -> dict[str, Any]:
        """Return the next message of a channel.

        A cancelled call loses nothing: the message is taken from the mailbox in the last step.

        Raises:
            redis.exceptions.RedisError: The settings do not fit the server: a wrong password, a
                missing right. A server that is away is waited for.
        """
        find = self._mailboxes.find
        box = find(channel) or self._mailboxes.open(channel)
        if box.watched:
            self._consumers.reads(channel, box)
        parcel = box.take()
        while parcel is None:
            waiter = box.queue_up()
            try:
                # A mailbox that was swept away before we queued up gets nothing any more.
                if find(channel) is box:
                    self._ensure(channel)
                    await waiter
            except BaseException:
                self._leave(channel, box, waiter)
                raise
            box = find(channel) or self._mailboxes.open(channel)
            if box.watched:
                self._consumers.reads(channel, box)
            parcel = box.take()
            if parcel is None:
                self._raise_failure(channel)
        counters = self._settings.counters
        box.turn = counters.received = counters.received + 1
        return parcel.open()

    @property
    def reconnects(self) -> int:
        """How many connections took the place of a lost one."""
        return sum(outages.reconnects for outages in self._outages)

    @property
    def outage_seconds(self) -> float:
        """How long all outages of all hosts lasted."""
        return sum(outages.seconds for outages in self._outages)

    def _ensure(self, channel: str) -> None:
        """Make sure that somebody reads the message keys of a channel, and knows who waits."""
        # keys.non_local, without its call: this is on every consumer's way.
        address = channel[: channel.find("!") + 1] or channel
        receivers = self._receivers.get(address, ())
        for receiver in receivers:
            if receiver.ended or receiver.loop.is_closed():
                break
            if address is channel:
                receiver.poke()
        else:
            if receivers:
                return
        with self._lock:
            self._replace(address)

    def _replace(self, address: str) -> None:
        """Start the receivers that an address lacks."""
        count = len(self._settings.connectors)
        # A sender picks any shard for a general channel, so all are read.
        shards = [shard_of(address, count)] if "!" in address else range(count)
        nobody: list[Receiver | None] = [None] * len(shards)
        receivers = self._receivers.get(address, nobody)
        self._receivers[address] = [
            self._start(address, shard, receiver)
            if receiver is None or receiver.ended or receiver.loop.is_closed()
            else receiver
            for shard, receiver in zip(shards, receivers, strict=True)
        ]

    def _start(self, address: str, shard: int, before: Receiver | None) -> Receiver:
        settings, home = self._settings, self._homes.get()
        beside = settings.keys.messages(address)
        if before is not None and before.loop.is_closed():
            # Nobody has finished what it had begun: the server may have moved messages into its
            # claims, and the first take of one that goes on with them returns these.
            intake = before.intake
        else:
            intake = Intake(beside, settings.expiry, self._delivery(address), settings.counters)
        connector = settings.connectors[shard].to_key(beside.key)
        line = Line(connector, home.shards[shard], self._outages[shard])
        receiver = Receiver(intake, line, lambda: self._ended(address))
        home.keep(receiver)
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
            if all(receiver.settled for receiver in receivers):
                self._receivers.pop(address, None)
        self._mailboxes.wake_all()

    def _delivery(self, address: str) -> Delivery:
        settings = self._settings
        if "!" not in address:
            return ToWorkers(address, settings, self._mailboxes)
        return ToProcess(address, settings, self._mailboxes, self._memberships, self._deserted)

    def _raise_failure(self, channel: str) -> None:
        for receiver in self._receivers.get(non_local(channel), ()):
            if receiver.failure is not None:
                raise receiver.failure

    def _leave(self, channel: str, box: Mailbox, waiter: asyncio.Future[None]) -> None:
        """Clear up after a call that was cancelled."""
        box.withdraw(waiter)
        if "!" not in channel:
            # What this process took for nobody else goes to another one.
            give_back(box)
            for receiver in self._receivers.get(channel, ()):
                receiver.poke()
