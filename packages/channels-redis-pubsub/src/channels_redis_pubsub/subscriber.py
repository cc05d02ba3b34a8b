"""Keep the subscriptions at one host alive, on a connection of their own."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ._shared.clock import monotonic
from ._shared.concurrency import end_task, start_task
from ._shared.ops.logs import FaultLog
from ._shared.transport.advice import advice_on_silence
from ._shared.transport.cluster import slot_of
from ._shared.transport.commands import copy_of, pack
from ._shared.transport.errors import is_of_slot, is_temporary, misplaced_slot
from ._shared.transport.reconnecting import Backoff, OutageLog
from .protocol.subscriptions import Subscriptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

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
# `cluster-node-timeout`, 7.5 s by default; before that, members are told.
BUS_PROBE_INTERVAL = 1.5
BUS_SILENCE_GRACE = 4.0
# Checks after which a connection without subscriptions is closed.
MAX_IDLE_CHECKS = 6

_MESSAGES = frozenset({b"message", b"smessage"})
_CONFIRMATIONS = frozenset({b"subscribe", b"unsubscribe", b"ssubscribe", b"sunsubscribe"})


@dataclass(frozen=True)
class Endpoint:
    """A host, or a node of a Cluster, and the topics that belong there."""

    host: Host
    # Opens a connection; returns None if there are no topics any more.
    open: Callable[[], Awaitable[Connection | None]]
    sharded: bool
    outages: OutageLog
    dispatcher: TopicDispatcher
    # Returns the topics of this endpoint that have members.
    topics: Callable[[], list[bytes]]
    # Returns True for such a topic.
    has_members: Callable[[bytes], bool]
    # Called with a topic that a node does not have, the error, and True if it was subscribed to.
    on_misplaced: Callable[[bytes, RedisError, bool], object] | None = None
    # True if messages come from other nodes of a Cluster, which drop them while this one stalls.
    over_bus: bool = False
    # The node's address, for the log.
    node: str | None = None


class Subscriber:
    """The subscriptions of one event loop at one host, or at one node of a Cluster."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._subscriptions = self._new_subscriptions()
        self._connection: Connection | None = None
        self._backoff = Backoff()
        self._faults = FaultLog(logger)
        # They get True when their topic is subscribed to, and False if it has moved.
        self._waiters: dict[bytes, list[asyncio.Future[bool]]] = {}
        self._running: asyncio.Task[None] | None = None
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        # True once all topics are subscribed to after a loss.
        self._restored = False
        # Why the last connection was lost, or could not be opened.
        self.last_error: Exception | None = None
        # True while a node of a Cluster is silent for so long that others drop messages for it.
        self._has_stalled = False
        # True if anything came since the last check.
        self._data_received = False

    @property
    def is_running(self) -> bool:
        """True while there is a connection, or one is to be opened."""
        return self._running is not None and not self._running.done()

    @property
    def has_topics(self) -> bool:
        """True if any topic belongs here, or is waited for."""
        return bool(self._waiters or self._endpoint.topics())

    async def wait_subscribed(self, topic: bytes, deadline: float | None) -> bool:
        """Subscribe to a topic, and wait for the server's confirmation.

        Args:
            topic: The topic, which stays subscribed to while this waits.
            deadline: When to give up, on the loop's clock; None: not while the server is away.

        Returns:
            False if the topic has moved to another node of the Cluster.

        Raises:
            redis.exceptions.ConnectionError: The server is away until the deadline.
            redis.exceptions.TimeoutError: It did not answer until then.
            redis.exceptions.RedisError: It refused the topic, or the connection.
        """
        if self._subscriptions.is_subscribed(topic):
            return True
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._waiters.setdefault(topic, []).append(waiter)
        timer = None if deadline is None else self._loop.call_at(deadline, self._time_out, waiter)
        try:
            self.subscribe((topic,))
            return await waiter
        finally:
            if timer is not None:
                timer.cancel()
            self._remove_waiter(topic, waiter)
            if not self._should_subscribe(topic):
                # Its members have left meanwhile.
                self.reconcile((topic,))

    def subscribe(self, topics: Iterable[bytes]) -> None:
        """Subscribe to topics that have members, and keep the subscriptions alive."""
        if not self.is_running:
            self._running = start_task(self._run())
        self.reconcile(topics)

    def reconcile(self, topics: Iterable[bytes]) -> None:
        """Mark these topics for reconciliation with their members."""
        self._endpoint.dispatcher.forget_unused(topics)
        self._subscriptions.reconcile(topics)
        self._write_soon()

    def is_subscribed(self, topic: bytes) -> bool:
        """Return whether the server has confirmed the subscription to the topic."""
        return self._subscriptions.is_subscribed(topic)

    def awaited_topics(self) -> list[bytes]:
        """Return the topics that calls of `wait_subscribed` wait for."""
        return list(self._waiters)

    def release(self, topics: Iterable[bytes]) -> None:
        """Let `wait_subscribed` return for topics that have moved to another node."""
        for topic in topics:
            self._resolve(topic, False)  # noqa: FBT003 - the result of a wait

    async def stop(self) -> None:
        """Close the connection; waiting calls get an error."""
        if self._running is not None:
            await end_task(self._running)
        await self._disconnect()
        self._fail_waiters(RedisConnectionError("The layer was closed"))
        self._endpoint.outages.forget(self)

    def abandon(self) -> None:
        """Forget an outage: the event loop is already closed."""
        self._endpoint.outages.forget(self)

    async def _run(self) -> None:
        """Keep a connection as long as there are topics."""
        while self.has_topics:
            try:
                connection = await self._endpoint.open()
                if connection is None:
                    self.last_error = None
                    self._endpoint.outages.found(self)
                    continue
                await self._serve(connection)
                await self._disconnect()
                self._restored = False
            except Exception as error:  # noqa: BLE001 - no error may end the subscriptions
                subscribed = self._subscriptions.subscribed_topics()
                await self._disconnect()
                self._on_lost(error, subscribed)
                await asyncio.sleep(self._backoff.next())
        self._endpoint.outages.forget(self)

    async def _serve(self, connection: Connection) -> None:
        """Use a connection until it breaks, or has been without topics for a while."""
        self._subscriptions = self._new_subscriptions(self._endpoint.topics())
        self._connection = connection
        self._reading = connection.listen(self._handle)
        self.reconcile(self._waiters)
        await self._watch(connection, self._reading)

    async def _disconnect(self) -> None:
        """Stop reading and writing, and close the connection."""
        # First of all, so that no write begins any more.
        connection, self._connection = self._connection, None
        tasks = [task for task in (self._reading, self._writing) if task is not None]
        for task in tasks:
            task.cancel()
        # Before any wait, in which this may be cancelled.
        if connection is not None:
            connection.close()
        # Their errors were raised where they count, or no longer count.
        await asyncio.gather(*tasks, return_exceptions=True)
        self._reading = self._writing = None
        self._has_stalled = False
        self._subscriptions = self._new_subscriptions()

    async def _watch(self, connection: Connection, reading: asyncio.Future[None]) -> None:
        """Return when there were no topics for a while; raise when the connection is lost."""
        idle_checks, endpoint = 0, self._endpoint
        interval = BUS_PROBE_INTERVAL if endpoint.over_bus else PROBE_INTERVAL
        while idle_checks < MAX_IDLE_CHECKS:
            await asyncio.wait([reading], timeout=interval)
            if reading.done():
                return reading.result()
            # With sharded Pub/Sub, a node says so itself.
            if connection.tenure.is_over and not endpoint.sharded:
                raise RedisConnectionError("the server is no longer in charge")
            self._subscriptions.retry_refused()
            received, self._data_received = self._data_received, False
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
        """Tell the members of a stall in which other nodes may have dropped messages.

        The connection stays: what the node has got meanwhile comes as it goes on.
        """
        topics = self._subscriptions.subscribed_topics()
        if received and self._has_stalled:
            self._has_stalled = False
            for topic in topics:
                self._endpoint.dispatcher.on_subscribed(topic)
            self._endpoint.outages.found(self)
        elif not received and self._subscriptions.is_overdue(monotonic() - BUS_SILENCE_GRACE):
            self._has_stalled = True
            error = RedisTimeoutError("it has gone silent, and other nodes may drop messages")
            self._endpoint.outages.lost(self, error, self._endpoint.node)
            self._endpoint.dispatcher.on_lost(self, topics)

    def _write_soon(self) -> None:
        """Send all changes of this turn of the loop in the next one."""
        if self._connection is not None and not self._writing and self._subscriptions.has_changes:
            self._writing = start_task(self._write(self._connection))

    async def _write(self, connection: Connection) -> None:
        try:
            while self._subscriptions.has_changes:
                commands = self._subscriptions.next_commands(monotonic())
                if commands:
                    connection.write(map(pack, commands))
                if self._subscriptions.has_changes:
                    # There may be thousands, and the loop has other work.
                    await asyncio.sleep(0)
        except (RedisError, OSError):
            pass  # reading raises it, too
        finally:
            self._writing = None

    def _handle(self, reply: Any) -> None:
        self._data_received = True
        if isinstance(reply, list):
            kind = reply[0]
            if kind in _MESSAGES:
                self._endpoint.dispatcher.dispatch(reply[1], reply[2])
                return
            if kind in _CONFIRMATIONS:
                self._on_confirmation(kind, reply[1])
            elif kind == b"pong":
                self._subscriptions.on_pong()
        elif reply == b"PONG":
            self._subscriptions.on_pong()
        elif isinstance(reply, RedisError):
            self._on_error(reply)
        self._write_soon()
        if not self._restored and self._subscriptions.restored:
            self._on_restored()

    def _on_confirmation(self, verb: bytes, topic: bytes) -> None:
        on_misplaced = self._endpoint.on_misplaced
        if (
            on_misplaced is not None
            and verb == b"sunsubscribe"
            and self._subscriptions.next_reply() != (b"SUNSUBSCRIBE", topic)
        ):
            # Not requested: the node has given the slot away.
            was_subscribed = self._subscriptions.on_removal(topic)
            on_misplaced(topic, RedisConnectionError("a slot has moved away"), was_subscribed)
        elif self._subscriptions.on_confirmation(verb, topic):
            self._endpoint.dispatcher.on_subscribed(topic)
            self._resolve(topic, True)  # noqa: FBT003 - the result of a wait

    def _on_error(self, error: RedisError) -> None:
        on_misplaced = self._endpoint.on_misplaced
        if on_misplaced is not None and is_of_slot(error):
            (_, expected), slot = self._subscriptions.next_reply(), misplaced_slot(error)
            if slot is not None and (expected is None or slot_of(expected.decode()) != slot):
                # The answer to an SUNSUBSCRIBE of what the node had just ended by itself.
                return
            for topic in self._subscriptions.on_error():
                on_misplaced(topic, error, False)  # noqa: FBT003 - it was only just requested
            return
        if is_temporary(error):
            raise error
        for topic in self._subscriptions.on_error():
            if topic in self._waiters:
                # They get the error. If there are members, too, the next try tells these.
                self._endpoint.dispatcher.on_subscribed(topic)
                self._resolve(topic, error)
            else:
                host, reason = str(self._endpoint.host), f"{topic.decode()}: {error}"
                self._faults.warning("%s refuses %s", host, reason)
                self._endpoint.dispatcher.on_refused(topic)

    def _on_restored(self) -> None:
        self._restored = True
        self.last_error = None
        self._backoff.reset()
        self._endpoint.outages.found(self)

    def _on_lost(self, error: Exception, subscribed: Collection[bytes]) -> None:
        endpoint = self._endpoint
        if not isinstance(error, (RedisError, OSError, asyncio.TimeoutError)):
            logger.error("Subscriber of %s failed", endpoint.host, exc_info=error)
        self.last_error = error
        temporary = is_temporary(error)
        if temporary or self._restored or not self._waiters:
            # Settings that have never worked here only concern the waiting calls, if there are any.
            endpoint.outages.lost(self, error, endpoint.node)
        self._restored = False
        endpoint.dispatcher.on_lost(self, subscribed)
        if not temporary:
            self._fail_waiters(error)

    def _time_out(self, waiter: asyncio.Future[bool]) -> None:
        if waiter.done():
            return
        host, error = self._endpoint.host, self.last_error
        if error is None:
            advice = advice_on_silence(host) if self._connection is None else ""
            waiter.set_exception(
                RedisTimeoutError(f"{host} did not confirm a subscription in time{advice}")
            )
        else:
            waiter.set_exception(RedisConnectionError(f"{host} is away: {error}"))

    def _resolve(self, topic: bytes, outcome: bool | Exception) -> None:  # noqa: FBT001
        for waiter in self._waiters.pop(topic, ()):
            if not waiter.done():
                if isinstance(outcome, Exception):
                    waiter.set_exception(copy_of(outcome))
                else:
                    waiter.set_result(outcome)

    def _fail_waiters(self, error: Exception) -> None:
        for topic in list(self._waiters):
            self._resolve(topic, error)

    def _remove_waiter(self, topic: bytes, waiter: asyncio.Future[bool]) -> None:
        waiters = self._waiters.get(topic)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[topic]

    def _new_subscriptions(self, topics: Iterable[bytes] = ()) -> Subscriptions:
        return Subscriptions(self._should_subscribe, topics, sharded=self._endpoint.sharded)

    def _should_subscribe(self, topic: bytes) -> bool:
        return topic in self._waiters or self._endpoint.has_members(topic)
