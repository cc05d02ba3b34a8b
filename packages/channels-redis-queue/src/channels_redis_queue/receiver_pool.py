"""The receivers of a broker, and where calls wait for the messages of general channels."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from ._shared.transport.commands import copy_of, shard_of
from .protocol.dispatch import WorkerDispatcher
from .protocol.inbox import Inbox
from .receiver import STARTABLE, Receiver, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._shared.delivery.mailboxes import Mailbox
    from ._shared.transport.commands import CommandClient, Shards
    from ._shared.transport.reconnecting import OutageLog
    from .config import QueueSettings
    from .protocol.inbox import Dispatcher


class ReceiverPool:
    """The receivers of a broker, and where calls wait for the messages of general channels.

    Args:
        settings: The layer's options.
        outages: One log for each host.
        connect: Returns the command connections of the broker's event loop.
        dispatcher: Returns the dispatcher of an address.
        wake_calls: Makes the `receive` calls of the address's channels look for receivers again.
    """

    def __init__(
        self,
        settings: QueueSettings,
        outages: Sequence[OutageLog],
        connect: Callable[[], Shards],
        dispatcher: Callable[[str], Dispatcher],
        wake_calls: Callable[[], object],
    ) -> None:
        self._settings = settings
        self._outages = outages
        self._connect = connect
        self._process_dispatcher = dispatcher
        self._wake_calls = wake_calls
        self._receivers: dict[str, list[Receiver]] = {}
        # By general channel.
        self._worker_dispatchers: dict[str, WorkerDispatcher] = {}

    def __contains__(self, address: object) -> bool:
        """Return whether an address has receivers."""
        return address in self._receivers

    @property
    def is_settled(self) -> bool:
        """True if no receiver runs, or has left anything unsettled."""
        return not self._receivers

    def mailbox(self, channel: str) -> Mailbox:
        """Return where calls wait for the messages of a general channel."""
        dispatcher = self._worker_dispatchers.get(channel)
        if dispatcher is None:
            dispatcher = WorkerDispatcher(channel, self._settings)
            self._worker_dispatchers[channel] = dispatcher
        return dispatcher.mailbox

    def ensure(self, address: str) -> None:
        """Start the receivers that an address lacks, and wake those that rest."""
        for receiver in self._receivers.get(address) or self._add(address):
            if receiver.state is not State.READING:
                receiver.wake()
                if receiver.state in STARTABLE:
                    receiver.start()

    def resume(self) -> None:
        """Receive again what was not settled in an earlier event loop."""
        for receiver in self._all():
            if receiver.state is State.STOPPED:
                receiver.start()

    def raise_failure(self, address: str) -> None:
        """Raise the error with which a receiver of an address has ended, if there is one."""
        for receiver in self._receivers.get(address, ()):
            if receiver.failure is not None:
                raise copy_of(receiver.failure)

    def clear(self) -> None:
        """Drop the messages that were prefetched."""
        for dispatcher in self._worker_dispatchers.values():
            dispatcher.clear()

    async def stop(self) -> None:
        """Stop all receivers, without losing messages that arrive meanwhile."""
        await asyncio.gather(*(receiver.stop() for receiver in self._all()))

    def wake_calls(self) -> None:
        """Make all `receive` calls look for receivers again."""
        for dispatcher in self._worker_dispatchers.values():
            dispatcher.mailbox.wake_all()

    def abandon(self) -> None:
        """Drop what belongs to an event loop that was closed."""
        for receiver in self._all():
            receiver.abandon()

    def _all(self) -> list[Receiver]:
        return [one for receivers in self._receivers.values() for one in receivers]

    def _add(self, address: str) -> list[Receiver]:
        """Make the receivers of an address."""
        settings, count = self._settings, len(self._settings.connectors)
        # A sender picks any shard for a general channel, so all are read.
        shards = [shard_of(address, count)] if "!" in address else range(count)
        queue = settings.keys.messages(address)
        dispatcher = self._worker_dispatchers.get(address) or self._process_dispatcher(address)
        self._receivers[address] = [
            Receiver(
                Inbox(queue, settings.expiry, dispatcher, settings.counters),
                settings.connectors[shard],
                partial(self._commands, shard),
                self._outages[shard],
                self._on_end,
            )
            for shard in shards
        ]
        return self._receivers[address]

    def _commands(self, shard: int) -> CommandClient:
        return self._connect()[shard]

    def _on_end(self, address: str) -> None:
        """Forget an address whose receivers are settled; make waiting calls look again.

        A name that is used once, such as that of a channel for one answer, must leave nothing
        behind.
        """
        dispatcher = self._worker_dispatchers.get(address)
        # Those that failed or were stopped stay: waiting calls raise the failure, and what they
        # have not acknowledged is received when they start again.
        settled = all(one.state is State.ENDED for one in self._receivers.get(address, ()))
        if settled:
            self._receivers.pop(address, None)
            self._worker_dispatchers.pop(address, None)
        if dispatcher is not None:
            dispatcher.mailbox.wake_all()
        elif not settled:
            self._wake_calls()
