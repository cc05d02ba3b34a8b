"""Hears what one host publishes, on a connection of its own, through every fault."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ._shared.concurrency.compat import start_task
from ._shared.transport.batch import copy_of
from ._shared.transport.cluster import slot_of
from ._shared.transport.errors import is_of_slot, is_temporary, misplaced_slot
from ._shared.transport.reconnecting import Backoff, OutageLog
from .protocol.subscriptions import Subscriptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from ._shared.config.hosts import Host
    from ._shared.transport.connection import Connection
    from .protocol.dispatch import TopicDispatcher

logger = logging.getLogger(__package__)

# Seconds between two looks at a connection. One on which nothing came between two looks is probed.
LOOK = 5.0
# Seconds that an answer may take on a connection on which nothing else came either: a server that
# stalls for less loses nothing. So a connection that went silent is lost within 25 s.
PATIENCE = 14.0
# Looks until a connection on which nothing is to be heard is closed.
LINGER = 6

# What the server says with Pub/Sub, and with sharded Pub/Sub.
_MESSAGES = frozenset({b"message", b"smessage"})
_CONFIRMATIONS = frozenset({b"subscribe", b"unsubscribe", b"ssubscribe", b"sunsubscribe"})


@dataclass(frozen=True)
class Line:
    """A host, or a node of a Cluster, and what it is asked to send."""

    host: Host
    # Opens a connection; returns None if nothing is to be heard there any more.
    open: Callable[[], Awaitable[Connection | None]]
    sharded: bool
    # Told when the host is lost and found.
    outages: OutageLog
    # Gets what it sends.
    delivery: TopicDispatcher
    # Returns the topics of this host that are heard, and tells whether one is.
    topics: Callable[[], list[bytes]]
    is_heard: Callable[[bytes], bool]
    # Told of a topic that the node of a Cluster does not have, why, and whether it was live there.
    misplaced: Callable[[bytes, RedisError, bool], object] | None = None
    # The node's address, for the log.
    node: str | None = None


class Subscriber:
    """The subscriptions of one event loop at one host, or one node of a Cluster."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._subscriptions = self._new_subscriptions()
        self._link: Connection | None = None
        self._backoff = Backoff()
        # Those who wait until a topic is live: they get True then, and False if it has moved.
        self._waiters: dict[bytes, list[asyncio.Future[bool]]] = {}
        self._running: asyncio.Task[None] | None = None
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        # Whether everything wanted was heard since the last loss.
        self._restored = False
        # Why there is no connection, or was none when one was last tried.
        self.trouble: Exception | None = None
        # Whether anything came since the last look.
        self._alive = False

    async def live(self, topic: bytes, *, patient: bool) -> None:
        """Return when the server has confirmed that the topic is heard.

        Args:
            topic: The topic; wanted at least until this returns.
            patient: Whether to wait for as long as the server is away.

        Raises:
            redis.exceptions.ConnectionError: The server is away for longer than the host's
                `timeout` seconds.
            redis.exceptions.TimeoutError: It did not answer in that time.
            redis.exceptions.RedisError: It refused the topic, or the connection.
        """
        await self.live_by(topic, None if patient else self._loop.time() + self._line.host.timeout)

    async def live_by(self, topic: bytes, deadline: float | None) -> bool:
        """Do the same up to a deadline on the loop's clock.

        Returns:
            Whether the topic is live; it is not if it belongs to another node of the Cluster now.
        """
        if self._subscriptions.is_live(topic):
            return True
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._waiters.setdefault(topic, []).append(waiter)
        alarm = None if deadline is None else self._loop.call_at(deadline, self._late, waiter)
        try:
            self.hear((topic,))
            return await waiter
        finally:
            if alarm is not None:
                alarm.cancel()
            self._dismiss(topic, waiter)
            if not self._is_wanted(topic):
                # Whoever wanted it has gone meanwhile; as long as this waited, it was wanted.
                self.reconcile((topic,))

    @property
    def is_running(self) -> bool:
        """Whether there is a connection, or one is to be opened."""
        return self._running is not None and not self._running.done()

    @property
    def is_needed(self) -> bool:
        """Whether anything is to be heard here."""
        return bool(self._waiters or self._line.topics())

    def hear(self, topics: Iterable[bytes]) -> None:
        """Subscribe to topics that are wanted, and keep them subscribed."""
        if not self.is_running:
            self._running = start_task(self._run())
        self.reconcile(topics)

    def reconcile(self, topics: Iterable[bytes]) -> None:
        """Note that it may have changed whether these are wanted."""
        self._line.delivery.reconcile(topics)
        self._subscriptions.reconcile(topics)
        self._write_soon()

    def is_live(self, topic: bytes) -> bool:
        """Return whether the server has confirmed that the topic is heard."""
        return self._subscriptions.is_live(topic)

    def awaited(self) -> list[bytes]:
        """Return the topics that calls of `live` wait for."""
        return list(self._waiters)

    def release(self, topics: Iterable[bytes]) -> None:
        """Let calls of `live_by` return whose topics belong to another node now."""
        for topic in topics:
            self._tell(topic, False)  # noqa: FBT003 - the result of a wait

    async def stop(self) -> None:
        """Close the connection; who waits gets an error."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        await self._hang_up()
        self._fail_waiters(RedisConnectionError("The layer was closed"))
        self._line.outages.forget(self)

    def abandon(self) -> None:
        """Drop the connection: its event loop is closed."""
        if self._link is not None:
            self._link.abandon()
        self._line.outages.forget(self)

    async def _run(self) -> None:
        """Keep a connection as long as anything is to be heard."""
        while self.is_needed:
            try:
                link = await self._line.open()
                if link is None:
                    self.trouble = None
                    self._line.outages.found(self)
                    continue
                await self._serve(link)
                await self._hang_up()
                self._restored = False
            except Exception as error:  # noqa: BLE001 - whatever it is, no consumer may stay deaf
                live = self._subscriptions.live()
                await self._hang_up()
                self._lost(error, live)
                await asyncio.sleep(self._backoff.next())
        # Nothing looks for the host any more.
        self._line.outages.forget(self)

    async def _serve(self, link: Connection) -> None:
        """Hear until the connection breaks, or nothing has been wanted for a while."""
        self._subscriptions = self._new_subscriptions(self._line.topics())
        self._link = link
        self._reading = link.listen(self._handle)
        self.reconcile(self._waiters)
        await self._watch(self._reading)

    async def _hang_up(self) -> None:
        """Stop reading and writing, and close the connection."""
        # First of all, so that nobody begins to write any more.
        link, self._link = self._link, None
        tasks = [task for task in (self._reading, self._writing) if task is not None]
        for task in tasks:
            task.cancel()
        # Errors too: they were raised where they count, or count no more.
        await asyncio.gather(*tasks, return_exceptions=True)
        self._reading = self._writing = None
        self._subscriptions = self._new_subscriptions()
        if link is not None:
            await link.close()

    async def _watch(self, reading: asyncio.Future[None]) -> None:
        """Return when nobody has wanted anything for a while; raise when the connection is lost."""
        idle = 0
        while idle < LINGER:
            await asyncio.wait([reading], timeout=LOOK)
            if reading.done():
                return reading.result()
            if self._alive:
                self._alive = False
            elif self._subscriptions.is_overdue(self._loop.time() - PATIENCE):
                raise RedisTimeoutError("it has gone silent")
            else:
                self._subscriptions.ping()
                self._write_soon()
            idle = 0 if self._subscriptions.in_use else idle + 1
        return None

    def _write_soon(self) -> None:
        """Send what there is to send in the next turn, so that all changes of this one go along."""
        if self._link is not None and self._writing is None and self._subscriptions.has_changes:
            self._writing = start_task(self._write(self._link))

    async def _write(self, link: Connection) -> None:
        try:
            while commands := self._subscriptions.next_requests(self._loop.time()):
                await link.write(commands)
        except (RedisError, OSError):
            pass  # the reader sees it, too
        finally:
            self._writing = None

    def _handle(self, reply: Any) -> None:
        self._alive = True
        if isinstance(reply, list):
            kind = reply[0]
            if kind in _MESSAGES:
                self._line.delivery.message(reply[1], reply[2])
                return
            if kind in _CONFIRMATIONS:
                self._confirmed(kind, reply[1])
            elif kind == b"pong":
                self._subscriptions.answered()
        elif reply == b"PONG":
            self._subscriptions.answered()
        elif isinstance(reply, RedisError):
            self._refused(reply)
        self._write_soon()
        if not self._restored and self._subscriptions.restored:
            self._found()

    def _confirmed(self, verb: bytes, topic: bytes) -> None:
        misplaced = self._line.misplaced
        if (
            misplaced is not None
            and verb == b"sunsubscribe"
            and self._subscriptions.next_due() != (b"SUNSUBSCRIBE", topic)
        ):
            # Unasked: the node has given the slot away.
            was_live = self._subscriptions.ended(topic)
            misplaced(topic, RedisConnectionError("a slot has moved away"), was_live)
        elif self._subscriptions.confirmed(verb, topic):
            self._line.delivery.heard(topic)
            self._tell(topic, True)  # noqa: FBT003 - the result of a wait

    def _refused(self, error: RedisError) -> None:
        misplaced = self._line.misplaced
        if misplaced is not None and is_of_slot(error):
            (_, asked), slot = self._subscriptions.next_due(), misplaced_slot(error)
            if slot is not None and (asked is None or slot_of(asked.decode()) != slot):
                # The answer to an SUNSUBSCRIBE, of what the node had just ended by itself.
                return
            for topic in self._subscriptions.refused():
                misplaced(topic, error, False)  # noqa: FBT003 - it was asked for just now
            return
        if is_temporary(error):
            raise error
        for topic in self._subscriptions.refused():
            if topic not in self._waiters:
                logger.warning("%s refuses %s: %s", self._line.host, topic.decode(), error)
            self._line.delivery.heard(topic)
            self._tell(topic, error)

    def _found(self) -> None:
        self._restored = True
        self.trouble = None
        self._backoff.reset()
        self._line.outages.found(self)

    def _lost(self, error: Exception, live: Iterable[bytes]) -> None:
        if not isinstance(error, (RedisError, OSError, asyncio.TimeoutError)):
            logger.error("Hearing %s failed", self._line.host, exc_info=error)
        self.trouble = error
        away = is_temporary(error)
        if away or self._restored:
            # Of settings that have never worked here, those who wait are told at once.
            self._line.outages.lost(self, error, self._line.node)
        self._restored = False
        self._line.delivery.lost(self, live)
        if not away:
            self._fail_waiters(error)

    def _late(self, waiter: asyncio.Future[bool]) -> None:
        if waiter.done():
            return
        host, trouble = self._line.host, self.trouble
        if trouble is None:
            waiter.set_exception(
                RedisTimeoutError(f"{host} did not confirm a subscription in time")
            )
        else:
            waiter.set_exception(RedisConnectionError(f"{host} is away: {trouble}"))

    def _tell(self, topic: bytes, outcome: bool | Exception) -> None:  # noqa: FBT001
        for waiter in self._waiters.pop(topic, ()):
            if not waiter.done():
                if isinstance(outcome, Exception):
                    waiter.set_exception(copy_of(outcome))
                else:
                    waiter.set_result(outcome)

    def _fail_waiters(self, error: Exception) -> None:
        for topic in list(self._waiters):
            self._tell(topic, error)

    def _dismiss(self, topic: bytes, waiter: asyncio.Future[bool]) -> None:
        waiters = self._waiters.get(topic)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[topic]

    def _new_subscriptions(self, topics: Iterable[bytes] = ()) -> Subscriptions:
        return Subscriptions(self._is_wanted, topics, sharded=self._line.sharded)

    def _is_wanted(self, topic: bytes) -> bool:
        return topic in self._waiters or self._line.is_heard(topic)
