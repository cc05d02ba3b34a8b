"""The receivers that read for the consumers of a process, in whichever event loops they run."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

from ._shared.transport.commands import copy_of, shard_of
from ._shared.transport.reconnecting import OutageLog
from .keys import non_local
from .protocol.dispatch import ProcessDispatcher, WorkerDispatcher
from .protocol.inbox import Dispatcher, Inbox
from .receiver import SERVING, Receiver, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._shared.concurrency import LoopLocal
    from ._shared.delivery.mailboxes import Mailboxes
    from ._shared.history.follower import Followers
    from .config import QueueSettings
    from .loop_state import LoopState
    from .protocol.local_groups import LocalGroups

logger = logging.getLogger(__package__)

# Seconds between two checks that the event loop of a receiver, in another thread, still runs.
POLL_INTERVAL = 2


class ReceiverPool:
    """The receivers of this process, and the `receive` calls on general channels.

    Args:
        settings: The layer's options.
        mailboxes: The mailboxes of this process's channels.
        local_groups: The members in this process.
        followers: The followers of the groups that keep a history, by virtual channel.
        loops: The state of each event loop: a receiver is added where it was first needed.
        groups_empty: Called with virtual channels that have no members any more.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it connects
        self,
        settings: QueueSettings,
        mailboxes: Mailboxes,
        local_groups: LocalGroups,
        followers: Followers[str],
        loops: LoopLocal[LoopState],
        groups_empty: Callable[[Sequence[str]], object],
    ) -> None:
        self._settings = settings
        self._mailboxes = mailboxes
        self._local_groups = local_groups
        self._followers = followers
        self._loops = loops
        self._groups_empty = groups_empty
        # One for each host.
        self.outages = [OutageLog(logger, str(connector.host)) for connector in settings.connectors]
        self._lock = threading.Lock()
        self._receivers: dict[str, list[Receiver]] = {}
        # By general channel.
        self._worker_dispatchers: dict[str, WorkerDispatcher] = {}

    async def receive_general(self, channel: str) -> dict[str, Any]:
        """Return the next message of a general channel; see `QueueBroker.receive`."""
        while True:
            dispatcher = self._worker_dispatchers.get(channel)
            if dispatcher is None:
                dispatcher = WorkerDispatcher(channel, self._settings, self._wake)
                dispatcher = self._worker_dispatchers.setdefault(channel, dispatcher)
            taken = dispatcher.take()
            if taken is None:
                waiter = dispatcher.add_waiter()
                try:
                    # One that was removed before we queued up gets nothing any more.
                    if self._worker_dispatchers.get(channel) is dispatcher:
                        if self.ensure(channel):
                            await self.watch(channel, waiter)
                        taken = await waiter
                    else:
                        dispatcher.remove_waiter(waiter)
                        continue
                except BaseException:
                    dispatcher.remove_waiter(waiter)
                    raise
            if taken is None:
                self.raise_failure(channel)
            elif (message := taken.acknowledge()) is not None:
                self._settings.counters.received += 1
                return message
            else:
                self._settings.counters.expired += 1

    def ensure(self, channel: str) -> bool:
        """Start the receivers that a channel lacks, and wake those that are idle.

        Returns:
            Whether one of the receivers is in another event loop.
        """
        # Inlined keys.non_local: this runs for each message.
        address = channel[: channel.find("!") + 1] or channel
        receivers = self._receivers.get(address, ())
        loop = asyncio.get_running_loop()
        elsewhere = False
        for receiver in receivers:
            if receiver.state not in SERVING or not receiver.loop.is_running():
                break
            if receiver.loop is not loop:
                elsewhere = True
            if address is channel or receiver.state is State.RESTING:
                receiver.wake()
        else:
            if receivers:
                return elsewhere
        with self._lock:
            # Calls that wait for a general channel which was forgotten just now are woken by that.
            if "!" in address or address in self._worker_dispatchers:
                self._start_missing(address)
        return any(receiver.loop is not loop for receiver in self._receivers.get(address, ()))

    async def watch(self, channel: str, waiter: asyncio.Future[Any]) -> None:
        """Wait for a receiver in another thread's loop; start another if that loop stops."""
        while not waiter.done():
            await asyncio.wait([waiter], timeout=POLL_INTERVAL)
            if not self.ensure(channel):
                return

    def raise_failure(self, channel: str) -> None:
        """Raise the error with which a receiver of a channel has ended, if there is one."""
        for receiver in self._receivers.get(non_local(channel), ()):
            if receiver.failure is not None:
                raise copy_of(receiver.failure)

    def knows(self, channel: str) -> bool:
        """Return whether a channel has been received on recently."""
        return channel in self._worker_dispatchers or channel in self._mailboxes

    def clear(self) -> None:
        """Drop all messages in this process."""
        self._mailboxes.clear()
        for dispatcher in list(self._worker_dispatchers.values()):
            dispatcher.clear()

    def _wake(self, channel: str) -> None:
        for receiver in self._receivers.get(channel, ()):
            receiver.wake()

    def _start_missing(self, address: str) -> None:
        """Start the receivers that an address lacks."""
        count = len(self._settings.connectors)
        # A sender picks any shard for a general channel, so all are read.
        shards = [shard_of(address, count)] if "!" in address else range(count)
        missing: list[Receiver | None] = [None] * len(shards)
        receivers = self._receivers.get(address, missing)
        self._receivers[address] = [
            self._start(address, shard, receiver)
            if receiver is None or receiver.state not in SERVING or not receiver.loop.is_running()
            else receiver
            for shard, receiver in zip(shards, receivers, strict=True)
        ]

    def _start(self, address: str, shard: int, before: Receiver | None) -> Receiver:
        settings, loop_state = self._settings, self._loops.get()
        queue = settings.keys.messages(address)
        if before is not None and before.state is not State.ENDED:
            # The server may have moved messages into its claims; the first take of a receiver that
            # continues with them returns these.
            before.replace()
            inbox = before.inbox
        else:
            inbox = Inbox(queue, settings.expiry, self._dispatcher(address), settings.counters)
        receiver = Receiver(
            inbox,
            settings.connectors[shard],
            loop_state.shards[shard],
            self.outages[shard],
            self._receiver_ended,
        )
        loop_state.keep(receiver)
        return receiver

    def _receiver_ended(self, address: str) -> None:
        """Forget an address whose receivers are settled; make waiting calls start others.

        A name that is used once, such as that of a channel for one answer, must leave nothing
        behind.
        """
        with self._lock:
            receivers = self._receivers.get(address, ())
            # Those that failed or were stopped stay: waiting calls raise the failure, and the next
            # receiver continues with what they have not acknowledged.
            settled = all(receiver.state is State.ENDED for receiver in receivers)
            if settled:
                self._receivers.pop(address, None)
            dispatcher = self._worker_dispatchers.get(address)
            if settled and dispatcher is not None:
                del self._worker_dispatchers[address]
        if dispatcher is not None:
            dispatcher.wake_all()
        elif not settled:
            self._mailboxes.wake_all()

    def _dispatcher(self, address: str) -> Dispatcher:
        settings = self._settings
        if "!" not in address:
            return self._worker_dispatchers[address]
        return ProcessDispatcher(
            address,
            settings,
            self._mailboxes,
            self._local_groups,
            self._groups_empty,
            self._followers,
        )
