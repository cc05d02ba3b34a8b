"""A layer in one process: its channels, their mailboxes, and its event loops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any

from ._shared.blocking.callers import SynchronousCallers
from ._shared.concurrency import LoopLocal
from ._shared.delivery.consumers import SWEEP_INTERVAL, ConsumerTracker
from ._shared.delivery.mailboxes import Mailboxes
from ._shared.history.results import Joined
from ._shared.ops.logs import OverflowLog
from ._shared.transport.cluster import Cluster
from ._shared.transport.reconnecting import OutageLog
from .loop_client import LoopClient
from .protocol.names import new_process

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from ._shared.history.follower import Join
    from ._shared.history.rules import Limits
    from ._shared.transport.commands import Shards
    from .config import PubSubSettings

logger = logging.getLogger(__package__)


class PubSubBroker:
    """A layer in one process: its channels, their mailboxes, and its event loops.

    A channel is subscribed to in the event loop in which it was opened; consumers may run in
    others.
    """

    def __init__(self, settings: PubSubSettings) -> None:
        self.settings = settings
        # In the names of channels.
        self.id = new_process()
        self.counters = settings.counters
        self._publish_command = "SPUBLISH" if settings.sharded_pubsub else "PUBLISH"
        self.overflows = OverflowLog(logger)
        self._mailboxes = Mailboxes(
            settings.mailbox_bytes,
            self._overflowed,
            capacity=settings.capacity,
            on_overflow=settings.on_overflow,
            counters=settings.counters,
        )
        self.consumers = ConsumerTracker(
            self._mailboxes, settings.channel_expiry, self._end_channels
        )
        # One for each host.
        self.outages = [OutageLog(logger, str(connector.host)) for connector in settings.connectors]
        self._loops = LoopLocal(self._make_client)
        self._synchronous = SynchronousCallers(
            settings.connectors, settings.scripts, settings.counters, by_key=settings.sharded_pubsub
        )
        self._synchronous_by_key = self._synchronous
        if not settings.sharded_pubsub and any(
            isinstance(connector, Cluster) for connector in settings.connectors
        ):
            # The others choose any node of a Cluster, as messages reach all.
            self._synchronous_by_key = SynchronousCallers(
                settings.connectors, settings.scripts, settings.counters
            )
        # Held while a channel moves.
        self._lock = threading.Lock()
        # The client of each open channel.
        self._clients: dict[str, LoopClient] = {}

    def __contains__(self, channel: object) -> bool:
        """Return whether the channel is open."""
        return channel in self._clients

    async def open(self, channel: str, *, no_timeout: bool = False) -> None:
        """Subscribe to a channel in the running event loop, and wait for the confirmation.

        One that is open in another event loop stays there, unless that has ended.

        Args:
            channel: The channel.
            no_timeout: Wait for as long as the server is away.

        Raises:
            redis.exceptions.RedisError: As `LoopClient.wait_subscribed`. The channel is closed
                then.
        """
        self._move(channel)
        client = self._loops.get()
        client.hub.open(channel)
        if self._clients.setdefault(channel, client) is not client:
            # Another event loop has opened it meanwhile. Here nothing is subscribed to yet.
            client.hub.close(channel)
            return
        self._start_sweeping(client)
        try:
            await client.wait_subscribed(channel.encode(), no_timeout=no_timeout)
        except asyncio.CancelledError:
            # A poll with a timeout cancels this; the next one finds the channel open.
            if not no_timeout:
                self.close(channel)
            raise
        except GeneratorExit:
            _call_soon(client, self.close, channel)
            raise
        except BaseException:
            # Otherwise the end of the client closes it, or moves it on to who waits for it.
            if not client.ended:
                self.close(channel)
            raise

    def close(self, channel: str) -> None:
        """Drop a channel, its messages and memberships, and the subscriptions it alone needs."""
        client = self._clients.pop(channel, None)
        if client is not None:
            client.reconcile(client.hub.close(channel))
            client.followers.backlog.forget(channel)
        self._mailboxes.discard(channel)
        self.overflows.forget(channel)

    async def receive(self, channel: str) -> dict[str, Any]:
        """Return the next message of a channel; open it first if needed.

        Raises:
            redis.exceptions.RedisError: The server refuses the subscription, or the connection.
        """
        find = self._mailboxes.find
        while True:
            mailbox = find(channel) or self._mailboxes.open(channel)
            if mailbox.tracks_task:
                self.consumers.track_task(channel, mailbox)
            item = mailbox.take()
            if item is not None:
                break
            client = self._clients.get(channel)
            if client is None or client.ended:
                await self.open(channel, no_timeout=True)
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
        counters = self.counters
        mailbox.last_receipt = counters.received = counters.received + 1
        return item.copy()

    async def join(self, topic: bytes, channel: str) -> None:
        """Make an open channel a member of a topic, and wait for the confirmation.

        Raises:
            RuntimeError: The channel is not open.
            redis.exceptions.RedisError: As `LoopClient.wait_subscribed`. The channel has not
                joined then.
        """
        client = self._client_of(channel, topic)
        token = client.hub.begin_join(topic, channel)
        try:
            await client.wait_subscribed(topic)
        except GeneratorExit:
            _call_soon(client, self._cancel_join, client, topic, channel, token)
            raise
        except BaseException:
            self._cancel_join(client, topic, channel, token)
            raise
        client.hub.confirm_join(topic, channel, token)
        if self._clients.get(channel, client) is not client:
            # It has moved meanwhile, without this membership.
            await self.join(topic, channel)

    async def follow(self, topic: bytes, channel: str, since: str | None, rewind: int) -> Joined:
        """Make an open channel a member of a group that keeps a history.

        Args:
            topic: The topic of the group.
            channel: The channel.
            since: The position from which on the channel wants messages.
            rewind: The number of latest messages that it wants otherwise.

        Raises:
            RuntimeError: The channel is not open.
            redis.exceptions.RedisError: As `join`, or as `CommandClient.execute`.
        """
        client = self._client_of(channel, topic)
        hub, followers = client.hub, client.followers
        with hub.lock:
            is_member = channel in hub.members(topic)
            token = hub.begin_join(topic, channel)
            follower = followers.find(topic)
            is_current = is_member and follower is not None and not follower.waits_of(channel)
            joining = None
            if not is_current or since is not None or rewind:
                joining = followers.begin_join(topic, channel, None if is_member else "")
        try:
            await client.wait_subscribed(topic)
            if joining is not None:
                joined = await joining.follower.join(joining, since, rewind)
            else:
                joined = Joined(followers.position(topic), recovered=True)
        except GeneratorExit:
            _call_soon(client, self._cancel_join, client, topic, channel, token, joining)
            raise
        except BaseException:
            self._cancel_join(client, topic, channel, token, joining)
            raise
        hub.confirm_join(topic, channel, token)
        if not hub.has_members(topic):
            # The channel has left meanwhile, when the group could not be forgotten.
            client.reconcile((topic,))
        if self._clients.get(channel, client) is not client:
            # The channel has moved meanwhile, without this membership.
            return await self.follow(topic, channel, since, rewind)
        return joined

    def leave(self, topic: bytes, channel: str) -> None:
        """End a channel's membership in a topic."""
        client = self._clients.get(channel)
        if client is not None:
            client.hub.leave(topic, channel)
            client.reconcile((topic,))

    async def publish(self, topic: str, data: bytes) -> None:
        """Send bytes to all members of a topic, in whichever process.

        Raises:
            redis.exceptions.RedisError: As `CommandClient.execute`.
        """
        client = self._loops.find()
        shards = self._shards() if client is None else client.shards
        command = (self._publish_command, topic, data)
        await shards.of(topic).execute(command, key=topic)
        self.counters.sent += 1

    async def append(self, topic: str, data: bytes, limits: Limits) -> None:
        """Send bytes to all members of a group, and append them to its history.

        Raises:
            redis.exceptions.RedisError: As `CommandClient.execute`.
        """
        commands = self.key_shards().of(topic)
        await self.settings.store.append(
            topic, data, limits, commands, self._publish_command, topic
        )
        self.counters.sent += 1

    def key_shards(self) -> Shards:
        """Return the connections of the running event loop for commands on keys."""
        if self._synchronous_by_key is self._synchronous:
            return self._shards()
        client = self._loops.find()
        shards = self._synchronous_by_key.shards() if client is None else client.key_shards
        return shards or self._loops.get().key_shards

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine until the connections of the running event loop close."""
        return self._loops.get().tasks.spawn(coroutine)

    def count_groups(self) -> int:
        """Return the number of groups that have members in this process."""
        return len(set().union(*(client.hub.groups() for client in self._loops.values())))

    def flush(self) -> None:
        """Drop all unread messages, and end all memberships in groups."""
        # Also those that have ended, and whose channels may go on.
        for client in {*self._loops.values(), *self._clients.values()}:
            topics = client.hub.leave_groups()
            if not client.ended:
                client.reconcile(topics)
        self._mailboxes.clear()

    async def close_connections(self) -> None:
        """Close the connections of synchronous callers, and of the running event loop.

        The latter stay while a consumer in another task needs their subscriptions.
        """
        client = self._loops.find()
        try:
            if client is not None and not any(map(self.consumers.is_consumed, client.channels())):
                await self._loops.close()
        finally:
            await self._synchronous.close()
            await self._synchronous_by_key.close()

    def _overflowed(self, channel: str, count: int) -> None:
        # A channel without a consumer misses nothing.
        if self.consumers.has_consumer(channel):
            self.overflows.dropped(channel, count)

    def _end_channels(self, channels: Sequence[str]) -> None:
        for channel in channels:
            self.close(channel)

    def _start_sweeping(self, client: LoopClient) -> None:
        if not client.is_sweeping:
            client.is_sweeping = True
            client.loop.call_later(SWEEP_INTERVAL, self._sweep, client)

    def _sweep(self, client: LoopClient) -> None:
        if not client.ended:
            client.loop.call_later(SWEEP_INTERVAL, self._sweep, client)
            self.consumers.sweep()

    def _cancel_join(
        self,
        client: LoopClient,
        topic: bytes,
        channel: str,
        token: object,
        joining: Join | None = None,
    ) -> None:
        """Cancel a join, also that of a group's history; an earlier membership stays."""
        client.hub.cancel_join(topic, channel, token)
        if joining is not None:
            joining.follower.cancel_join(joining)
        # Last: a group is not forgotten while a channel joins it.
        client.reconcile((topic,))

    def _client_of(self, channel: str, topic: bytes) -> LoopClient:
        """Return the client of a channel that is to join a topic; move the channel if needed."""
        self._move(channel)
        client = self._clients.get(channel)
        if client is None:
            group = self.settings.group_of(topic)
            raise RuntimeError(
                f"{channel!r} is not a channel of this process: only the process that listens on a "
                "channel can add it to a group. In a consumer, write "
                f"self.channel_layer.group_add({group!r}, self.channel_name). From elsewhere, send "
                "the channel a message whose handler does that"
            )
        return client

    def _move(self, channel: str) -> None:
        """Move a channel and its memberships to the running event loop, if its own has ended."""
        client = self._clients.get(channel)
        if client is None or not client.ended:
            return
        here = self._loops.get()
        with self._lock:
            # Another event loop may have moved it meanwhile.
            if self._clients.get(channel) is client:
                here.take_over(channel, client)
                self._clients[channel] = here
                self._start_sweeping(here)

    def _shards(self) -> Shards:
        """Return the command connections for the running event loop."""
        shards = self._synchronous.shards() if self._loops.find() is None else None
        return self._loops.get().shards if shards is None else shards

    def _make_client(self) -> LoopClient:
        return LoopClient(
            self.settings, self._mailboxes, self.outages, self._on_client_end, self.key_shards
        )

    def _on_client_end(self, client: LoopClient) -> None:
        """Close the client's channels, but for those that have a consumer.

        The next `receive` or `group_add` moves these, and they are told of the outage.
        """
        for channel in client.channels():
            if self._clients.get(channel) is not client:
                continue
            if not self.consumers.has_consumer(channel):
                self.close(channel)
                continue
            client.tell_lost(channel)
            if self._mailboxes.waiting(channel):
                # No other is woken: one that is woken does not wait for an instant, in which its
                # channel's own loop may end.
                self._mailboxes.open(channel).wake_all()


def _call_soon(client: LoopClient, function: Callable[..., object], *args: object) -> None:
    """Call a function in the client's event loop, for a coroutine that is being closed.

    The garbage collector may close one anywhere, also while a lock is held that this would take.
    """
    with contextlib.suppress(RuntimeError):  # the loop is closed, and its client ends as a whole
        client.loop.call_soon_threadsafe(function, *args)
