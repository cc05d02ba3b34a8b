"""Keep the subscriptions at one server alive, on a connection of their own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import AskError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ._shared.clock import monotonic
from ._shared.concurrency import end_task, start_task
from ._shared.ops.logs import FaultLog
from ._shared.transport.advice import advice_on_silence
from ._shared.transport.cluster import slot_of
from ._shared.transport.commands import pack
from ._shared.transport.errors import is_of_slot, is_temporary
from ._shared.transport.reconnecting import Backoff, OutageLog
from .protocol.subscriptions import Subscriptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from ._shared.config.hosts import Host
    from ._shared.transport.connection import Connection
    from .protocol.hub import TopicDispatcher

logger = logging.getLogger(__package__)

# Seconds between two checks of a connection. It is probed if nothing came in between.
PROBE_INTERVAL = 5.0
# Seconds that a reply may take on a silent connection: a server that stalls for less loses nothing.
# So a connection that has gone silent is replaced within 25 s.
SILENCE_GRACE = 14.0
# The same for a node of a Cluster. Others drop what they owe one that stalls for half of their
# `cluster-node-timeout`, 7.5 s by default; before that, members get notices.
BUS_PROBE_INTERVAL = 1.5
BUS_SILENCE_GRACE = 4.0
# Checks after which a connection without subscriptions is closed.
MAX_IDLE_CHECKS = 6

_MESSAGES = frozenset({b"message", b"smessage"})
_CONFIRMATIONS = frozenset({b"subscribe", b"unsubscribe", b"ssubscribe", b"sunsubscribe"})


@dataclass(frozen=True)
class Endpoint:
    """A host, or a node of a Cluster."""

    host: Host
    # Opens a connection to it for a subscriber; returns None if all its topics have moved.
    open: Callable[[Subscriber], Awaitable[Connection | None]]
    outages: OutageLog
    sharded: bool
    # True if messages come from other nodes of a Cluster, which drop them while this one stalls.
    over_bus: bool = False
    # The node's address, for the log.
    node: str | None = None


class Subscriber:
    """The subscriptions of one event loop at one host, or at one node of a Cluster.

    Args:
        endpoint: The server.
        dispatcher: Gets what is published, and what is lost and restored.
        end_wait: Called with a topic that is subscribed to, or with the error that it is refused
            with; returns whether a call was waiting for that.
        on_misplaced: Called with this subscriber, a topic that its node does not have, the error,
            and True if it was subscribed to.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        dispatcher: TopicDispatcher,
        end_wait: Callable[[bytes, Exception | None], bool],
        on_misplaced: Callable[[Subscriber, bytes, RedisError, bool], object],
    ) -> None:
        self.endpoint = endpoint
        # Those that belong here, subscribed to or not.
        self.topics: set[bytes] = set()
        # Why the last connection was lost, or could not be opened.
        self.last_error: Exception | None = None
        self._dispatcher = dispatcher
        self._end_wait = end_wait
        self._on_misplaced = on_misplaced
        # Those of the connection, or of the next one.
        self._subscriptions = Subscriptions(self.topics, sharded=endpoint.sharded)
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._backoff = Backoff()
        self._faults = FaultLog(logger)
        self._running: asyncio.Task[None] | None = None
        self._is_write_due = False
        # True while a node of a Cluster is silent for so long that others drop messages for it.
        self._has_stalled = False

    @property
    def is_running(self) -> bool:
        """True while there is a connection, or one is to be opened."""
        return self._running is not None and not self._running.done()

    def add(self, topic: bytes) -> None:
        """Subscribe to a topic, and keep the subscription alive."""
        self.topics.add(topic)
        if not self.is_running:
            self._running = start_task(self._run())
        self._subscriptions.reconcile((topic,))
        self._write_soon()

    def remove(self, topic: bytes) -> None:
        """End the subscription to a topic."""
        self.topics.discard(topic)
        self._subscriptions.reconcile((topic,))
        self._write_soon()

    def is_subscribed(self, topic: bytes) -> bool:
        """Return whether the server has confirmed the subscription to the topic."""
        return self._subscriptions.is_subscribed(topic)

    def not_in_time(self) -> RedisError:
        """Return the error for a subscription that is not confirmed in time."""
        host, error = self.endpoint.host, self.last_error
        if error is not None:
            return RedisConnectionError(f"{host} is away: {error}")
        advice = advice_on_silence(host) if self._connection is None else ""
        return RedisTimeoutError(f"{host} did not confirm a subscription in time{advice}")

    async def stop(self) -> None:
        """Close the connection."""
        if self._running is not None:
            await end_task(self._running)
        self._disconnect()
        self.forget_outage()

    def forget_outage(self) -> None:
        """No longer wait for the server to be back."""
        self.endpoint.outages.forget(self)

    async def _run(self) -> None:
        """Keep a connection as long as there are topics."""
        while self.topics:
            try:
                connection = self._connection = await self.endpoint.open(self)
                if connection is None:
                    self._on_found()
                    # Nodes may take time to agree on what has moved.
                    await asyncio.sleep(self._backoff.next())
                    continue
                self._write_soon()
                await self._watch(connection, connection.listen(self._handle))
                self._disconnect()
            except Exception as error:  # noqa: BLE001 - no error may end the subscriptions
                subscribed = self._subscriptions.subscribed_topics()
                self._disconnect()
                self._on_lost(error, subscribed)
                await asyncio.sleep(self._backoff.next())
        self._backoff.reset()
        self.forget_outage()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._has_stalled = False
        self._subscriptions = Subscriptions(self.topics, sharded=self.endpoint.sharded)

    async def _watch(self, connection: Connection, reading: asyncio.Future[None]) -> None:
        """Return when there were no topics for a while; raise when the connection is lost."""
        idle_checks, checked_at, endpoint = 0, monotonic(), self.endpoint
        interval = BUS_PROBE_INTERVAL if endpoint.over_bus else PROBE_INTERVAL
        while idle_checks < MAX_IDLE_CHECKS:
            await asyncio.wait([reading], timeout=interval)
            if reading.done():
                return reading.result()
            # With sharded Pub/Sub, a node says so itself.
            if connection.tenure.is_over and not endpoint.sharded:
                raise RedisConnectionError("the server is no longer in charge")
            self._subscriptions.retry_refused()
            received, checked_at = connection.heard_at >= checked_at, monotonic()
            if not received and self._subscriptions.is_overdue(monotonic() - SILENCE_GRACE):
                raise RedisTimeoutError("it has gone silent")
            if endpoint.over_bus:
                self._check_bus(received=received)
            if endpoint.over_bus or not received:
                self._subscriptions.ping()
            self._write_soon()
            idle_checks = 0 if self._subscriptions.in_use else idle_checks + 1
        return None

    def _check_bus(self, *, received: bool) -> None:
        """Notify the members of a stall in which other nodes may have dropped messages.

        The connection stays: what the node has got meanwhile comes once it answers again.
        """
        topics = self._subscriptions.subscribed_topics()
        if received and self._has_stalled:
            self._has_stalled = False
            for topic in topics:
                self._dispatcher.on_subscribed(topic)
            self.endpoint.outages.found(self)
        elif not received and self._subscriptions.is_overdue(monotonic() - BUS_SILENCE_GRACE):
            self._has_stalled = True
            error = RedisTimeoutError("it has gone silent, and other nodes may drop messages")
            self.endpoint.outages.lost(self, error, self.endpoint.node)
            self._dispatcher.on_lost(topics)

    def _write_soon(self) -> None:
        """Send all changes of this turn of the loop in the next one."""
        if self._connection is None or self._is_write_due or not self._subscriptions.has_changes:
            return
        self._is_write_due = True
        self._loop.call_soon(self._write)

    def _write(self) -> None:
        self._is_write_due = False
        if self._connection is not None:
            commands = self._subscriptions.next_commands(monotonic())
            if commands:
                with contextlib.suppress(RedisError):  # reading raises it, too
                    self._connection.write(map(pack, commands))
            self._write_soon()

    def _handle(self, reply: Any) -> None:
        answered = self._subscriptions.answered
        if isinstance(reply, list):
            kind = reply[0]
            if kind in _MESSAGES:
                self._dispatcher.dispatch(reply[1], reply[2])
                return
            if kind in _CONFIRMATIONS:
                self._on_confirmation(kind, reply[1])
            elif kind == b"pong":
                self._subscriptions.on_pong()
        elif reply == b"PONG":
            self._subscriptions.on_pong()
        elif isinstance(reply, RedisError):
            self._on_error(reply)
        if self._subscriptions.answered != answered:
            self._write_soon()
            if self._subscriptions.restored:
                self._backoff.reset()
                self._on_found()

    def _on_confirmation(self, verb: bytes, topic: bytes) -> None:
        if verb == b"sunsubscribe" and self._subscriptions.next_reply() != (verb.upper(), topic):
            # The node has given the slot away.
            was_subscribed = self._subscriptions.on_removal(topic)
            error = RedisConnectionError("a slot has moved away")
            self._on_misplaced(self, topic, error, was_subscribed)
        elif self._subscriptions.on_confirmation(verb, topic):
            self._dispatcher.on_subscribed(topic)
            self._end_wait(topic, None)

    def _on_error(self, error: RedisError) -> None:
        if isinstance(error, AskError):
            _, expected = self._subscriptions.next_reply()
            if expected is None or slot_of(expected) != error.slot_id:
                # The answer to an SUNSUBSCRIBE of what the node had just ended by itself.
                return
        if is_of_slot(error):
            for topic in self._subscriptions.on_error():
                self._on_misplaced(self, topic, error, False)  # noqa: FBT003 - only just requested
            return
        if is_temporary(error):
            raise error
        for topic in self._subscriptions.on_error():
            if self._end_wait(topic, error):
                # If there are other members, the next try notifies these.
                self._dispatcher.on_subscribed(topic)
            else:
                host, reason = str(self.endpoint.host), f"{topic.decode()}: {error}"
                self._faults.warning("%s refuses %s", host, reason)
                self._dispatcher.on_lost((topic,))

    def _on_found(self) -> None:
        self.last_error = None
        self.endpoint.outages.found(self)

    def _on_lost(self, error: Exception, subscribed: Collection[bytes]) -> None:
        endpoint = self.endpoint
        if not isinstance(error, (RedisError, OSError, asyncio.TimeoutError)):
            logger.error("Subscriber of %s failed", endpoint.host, exc_info=error)
        self.last_error = error
        self._dispatcher.on_lost(subscribed)
        temporary = is_temporary(error)
        # Not `any`: each of them gets the error.
        was_awaited = not temporary and sum([self._end_wait(one, error) for one in self.topics])
        if subscribed or not was_awaited:
            # Settings that have never worked here only concern the waiting calls, if there are any.
            endpoint.outages.lost(self, error, endpoint.node)
