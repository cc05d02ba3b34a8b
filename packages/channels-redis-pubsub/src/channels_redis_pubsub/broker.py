"""Puts together what a layer has in one process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any

from ._shared.blocking.callers import SynchronousCallers
from ._shared.concurrency.loop_local import LoopLocal
from ._shared.delivery.consumers import SWEEP_INTERVAL, ConsumerTracker
from ._shared.delivery.mailboxes import Mailboxes
from ._shared.ops.logs import OverflowLog
from ._shared.ops.statistics import Dropped, Statistics
from ._shared.transport.reconnecting import OutageLog
from .loop_client import LoopClient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._shared.transport.shards import Shards
    from .config import PubSubSettings

logger = logging.getLogger(__package__)


class PubSubBroker:
    """One layer in one process: its channels, their mailboxes, its event loops.

    A channel is heard in one event loop, that in which it was made; consumers may run in others.
    """

    def __init__(self, settings: PubSubSettings) -> None:
        self._settings = settings
        self._publish = "SPUBLISH" if settings.sharded_pubsub else "PUBLISH"
        self._overflows = OverflowLog(logger)
        self._mailboxes = Mailboxes(
            settings.mailbox_bytes,
            self._overflowed,
            capacity=settings.capacity,
            on_overflow=settings.on_overflow,
            counters=settings.counters,
        )
        self.consumers = ConsumerTracker(self._mailboxes, settings.channel_expiry, self._gone)
        self._outages = [
            OutageLog(logger, str(connector.host)) for connector in settings.connectors
        ]
        self._loops = LoopLocal(self._make_client)
        self._synchronous = SynchronousCallers(
            settings.connectors, (), settings.counters, by_key=settings.sharded_pubsub
        )
        self._lock = threading.Lock()
        # The event loop in which each channel is heard.
        self._home_of: dict[str, LoopClient] = {}
        # The event loops in which messages and channels are looked at, whether they have expired.
        self._swept: weakref.WeakSet[LoopClient] = weakref.WeakSet()

    def __contains__(self, channel: object) -> bool:
        """Tell whether the channel is open."""
        return channel in self._home_of

    async def open(self, channel: str, *, patient: bool = False) -> None:
        """Hear a channel in the running event loop; return when the server has confirmed it.

        Args:
            channel: The channel.
            patient: Whether to wait for as long as the server is away.

        Raises:
            redis.exceptions.RedisError: As `Subscriber.live`. The channel is not heard then.
        """
        client = self._loops.get()
        client.hub.open(channel)
        self._home_of[channel] = client
        self._keep_swept(client)
        try:
            await client.live(channel.encode(), patient=patient)
        except asyncio.CancelledError:
            # A poll with a timeout: the next one finds the channel as it is.
            if not patient:
                self.close(channel)
            raise
        except GeneratorExit:
            _soon(client, self.close, channel)
            raise
        except BaseException:
            self.close(channel)
            raise

    def close(self, channel: str) -> None:
        """Forget a channel, its messages, its groups, and the subscriptions that it alone needs."""
        client = self._home_of.pop(channel, None)
        if client is not None:
            client.reconcile(client.hub.close(channel))
        self._mailboxes.discard(channel)
        self._overflows.forget(channel)

    async def receive(self, channel: str) -> dict[str, Any]:
        """Return the next message of a channel, which is opened if it is not.

        Raises:
            redis.exceptions.RedisError: The server refuses the subscription, or the connection.
        """
        find = self._mailboxes.find
        while True:
            mailbox = find(channel) or self._mailboxes.open(channel)
            if mailbox.tracks_reader:
                self.consumers.track_reader(channel, mailbox)
            item = mailbox.take()
            if item is not None:
                break
            client = self._home_of.get(channel)
            if client is None or client.ended:
                await self._open_again(channel, client)
            waiter = mailbox.add_waiter()
            try:
                # A mailbox that was discarded before the waiter was added gets nothing any more.
                if find(channel) is mailbox:
                    await waiter
                else:
                    # It may come back, if it was being swept just then.
                    mailbox.remove_waiter(waiter)
            except BaseException:
                mailbox.remove_waiter(waiter)
                raise
        counters = self._settings.counters
        mailbox.last_receipt = counters.received = counters.received + 1
        return item.copy()

    async def join(self, topic: bytes, channel: str) -> bool:
        """Let a channel hear a group; return when the server has confirmed it.

        Returns:
            Whether the channel is one of this process.

        Raises:
            redis.exceptions.RedisError: As `Subscriber.live`. The channel has not joined then.
        """
        client = self._home_of.get(channel)
        if client is None:
            return False
        if client.ended:
            client = await self._move(channel, client)
        call = client.hub.join(topic, channel)
        try:
            await client.live(topic)
        except GeneratorExit:
            _soon(client, self._join_failed, client, topic, channel, call)
            raise
        except BaseException:
            self._join_failed(client, topic, channel, call)
            raise
        client.hub.joined(topic, channel, call)
        return True

    def leave(self, topic: bytes, channel: str) -> None:
        """Let a channel no longer hear a group."""
        client = self._home_of.get(channel)
        if client is not None:
            client.hub.leave(topic, channel)
            client.reconcile((topic,))

    async def publish(self, topic: str, data: bytes) -> None:
        """Send bytes to all who hear a topic, in whichever process.

        Raises:
            redis.exceptions.RedisError: As `Commands.execute`.
        """
        command = (self._publish, topic, data)
        await self._shards().of(topic).execute(command, key=topic)
        self._settings.counters.sent += 1

    def statistics(self) -> Statistics:
        """Return what the layer has done in this process, and has now."""
        counters = self._settings.counters
        groups = set().union(*(client.hub.groups() for client in self._loops.values()))
        lost = sum(outages.reconnects for outages in self._outages)
        return Statistics(
            sent=counters.sent,
            received=counters.received,
            dropped=Dropped(
                expired=counters.expired,
                undecodable=counters.undecodable,
                mailbox_full=self._overflows.total,
            ),
            reconnects=counters.reconnects + lost,
            outage_seconds=sum(outages.seconds for outages in self._outages),
            mailboxes=len(self._mailboxes),
            waiting=self._mailboxes.unread,
            groups=len(groups),
            commands=counters.commands,
            round_trips=counters.round_trips,
            broadcasts=counters.broadcasts,
        )

    def flush(self) -> None:
        """Drop all unread messages, and let all channels leave their groups."""
        for client in self._loops.values():
            client.reconcile(client.hub.leave_groups())
        self._mailboxes.clear()

    async def close_connections(self) -> None:
        """Close what is open in the running event loop, and for synchronous callers."""
        try:
            await self._loops.close()
        finally:
            await self._synchronous.close()

    def _overflowed(self, channel: str, count: int) -> None:
        # One that has lost its consumer misses nothing.
        if self.consumers.has_consumer(channel):
            self._overflows.dropped(channel, count)

    def _gone(self, channels: Sequence[str]) -> None:
        for channel in channels:
            self.close(channel)

    def _keep_swept(self, client: LoopClient) -> None:
        """Look again and again at what has expired, from the home's event loop."""
        if client not in self._swept:
            self._swept.add(client)
            client.loop.call_later(SWEEP_INTERVAL, self._sweep, client)

    def _sweep(self, client: LoopClient) -> None:
        if not client.ended:
            client.loop.call_later(SWEEP_INTERVAL, self._sweep, client)
            self.consumers.sweep()

    def _join_failed(self, client: LoopClient, topic: bytes, channel: str, call: object) -> None:
        client.hub.join_failed(topic, channel, call)
        client.reconcile((topic,))

    async def _open_again(self, channel: str, client: LoopClient | None) -> None:
        if client is None:
            await self.open(channel, patient=True)
        else:
            await self._move(channel, client)

    async def _move(self, channel: str, old: LoopClient) -> LoopClient:
        """Hear a channel and its groups in this event loop, since that of before has ended."""
        here = self._loops.get()
        with self._lock:
            client = self._home_of.get(channel)
            if client is old:
                self._home_of[channel] = client = here
                here.hub.open(channel, old.hub.close(channel))
        self._keep_swept(here)
        try:
            if client is here:
                here.reconcile(here.hub.topics_of(channel))
                await here.live(channel.encode(), patient=True)
        except Exception:
            self.close(channel)
            raise
        return here

    def _shards(self) -> Shards:
        """Return the command connections for calls of the running event loop."""
        client = self._loops.find()
        shards = self._synchronous.shards() if client is None else client.shards
        return shards or self._loops.get().shards

    def _make_client(self) -> LoopClient:
        return LoopClient(self._settings, self._mailboxes, self._outages, self._ended)

    def _ended(self, client: LoopClient) -> None:
        """Forget the channels of an event loop that nobody waits for in another one."""
        for channel in client.hub.channels():
            if not self._mailboxes.waiting(channel):
                self.close(channel)
        # The others move to where they are waited for.
        self._mailboxes.wake_all()


def _soon(client: LoopClient, function: Callable[..., object], *args: object) -> None:
    """Call a function in the home's event loop, for a coroutine that is being closed.

    The garbage collector does that at any moment, also while a lock is held that this would take.
    """
    with contextlib.suppress(RuntimeError):  # the loop is closed, and its home ends as a whole
        client.loop.call_soon_threadsafe(function, *args)
