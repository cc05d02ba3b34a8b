"""Hears what one host publishes, on a connection of its own, through every fault."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ._shared.calls import copy_of
from ._shared.deadlines import start_task
from ._shared.outages import Backoff, OutageLog, may_pass
from .subscriptions import Subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from ._shared.connections import Connector
    from ._shared.links import Link
    from .delivery import Delivery
    from .sharded import ShardedConnector, ShardedLink

logger = logging.getLogger(__package__)

# Seconds between two looks at a connection. One on which nothing came between two looks is probed.
LOOK = 5.0
# Seconds that an answer may take on a connection on which nothing else came either: a server that
# stalls for less loses nothing. So a connection that went silent is lost within 25 s.
PATIENCE = 14.0
# Looks until a connection on which nobody wants to hear anything is closed.
LINGER = 6


@dataclass(frozen=True)
class Line:
    """A host, and what it is asked to send."""

    connector: Connector | ShardedConnector
    # Told when the host is lost and found.
    outages: OutageLog
    # Gets what it sends.
    delivery: Delivery
    # Returns the topics of this host that are heard, and tells whether one is.
    topics: Callable[[], list[bytes]]
    is_heard: Callable[[bytes], bool]


class Subscriber:
    """The subscriptions of one event loop at one host."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._subscriptions = Subscriptions(self._is_wanted)
        self._link: Link | ShardedLink | None = None
        self._backoff = Backoff()
        # Those who wait until a topic is live.
        self._waiters: dict[bytes, list[asyncio.Future[None]]] = {}
        self._running: asyncio.Task[None] | None = None
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        # Whether everything wanted was heard since the last loss; and why there is no connection.
        self._restored = False
        self._interrupted = False
        self._trouble: Exception | None = None
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
        if self._subscriptions.is_live(topic):
            return
        waiter = self._loop.create_future()
        self._waiters.setdefault(topic, []).append(waiter)
        seconds = self._line.connector.host.timeout
        alarm = None if patient else self._loop.call_later(seconds, self._late, waiter)
        try:
            if self._running is None or self._running.done():
                self._running = self._spawn(self._run())
            self.look_at((topic,))
            await waiter
        finally:
            if alarm is not None:
                alarm.cancel()
            self._dismiss(topic, waiter)
            if not self._is_wanted(topic):
                # Whoever wanted it has gone meanwhile; as long as this waited, it was wanted.
                self.look_at((topic,))

    def look_at(self, topics: Iterable[bytes]) -> None:
        """Note that it may have changed whether somebody wants to hear these."""
        self._subscriptions.look_at(topics)
        self._write_soon()

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
        """Keep a connection as long as anybody wants to hear anything."""
        while self._waiters or self._line.topics():
            try:
                await self._serve(await self._line.connector.open())
                await self._hang_up()
                self._restored = False
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody may stay deaf
                await self._hang_up()
                self._lost(error)
                await asyncio.sleep(self._backoff.next())
        # Nobody looks for the host any more, and nobody is left who would be told that it is back.
        self._interrupted = False
        self._line.outages.forget(self)

    async def _serve(self, link: Link | ShardedLink) -> None:
        """Hear until the connection breaks, or nobody has wanted anything for a while."""
        self._subscriptions = Subscriptions(self._is_wanted, self._line.topics())
        self._link = link
        self._reading = link.listen(self._handle)
        self.look_at(self._waiters)
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
        self._subscriptions = Subscriptions(self._is_wanted)
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
            self._writing = self._spawn(self._write(self._link))

    async def _write(self, link: Link | ShardedLink) -> None:
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
            if kind == b"message":
                self._line.delivery.message(reply[1], reply[2])
                return
            if kind in {b"subscribe", b"unsubscribe"}:
                if self._subscriptions.confirmed(kind, reply[1]):
                    self._tell(reply[1])
            elif kind == b"pong":
                self._subscriptions.answered()
        elif reply == b"PONG":
            self._subscriptions.answered()
        elif isinstance(reply, RedisError):
            self._refused(reply)
        self._write_soon()
        if not self._restored and self._subscriptions.restored:
            self._found()

    def _refused(self, error: RedisError) -> None:
        if may_pass(error):
            raise error
        for topic in self._subscriptions.refused():
            if topic not in self._waiters:
                host = self._line.connector.host
                logger.warning("%s refuses %s: %s", host, topic.decode(), error)
            self._tell(topic, error)

    def _found(self) -> None:
        self._restored = True
        self._trouble = None
        self._backoff.reset()
        self._line.outages.found(self)
        if self._interrupted:
            self._interrupted = False
            self._line.delivery.reconnected()

    def _lost(self, error: Exception) -> None:
        if not isinstance(error, (RedisError, OSError, asyncio.TimeoutError)):
            logger.error("Hearing %s failed", self._line.connector.host, exc_info=error)
        self._trouble = error
        away = may_pass(error)
        if away or self._restored or self._interrupted:
            # Of settings that have never worked here, those who wait are told at once.
            self._line.outages.lost(self, error)
        if self._restored:
            self._restored = False
            self._interrupted = True
            self._line.delivery.disconnected()
        if not away:
            self._fail_waiters(error)

    def _late(self, waiter: asyncio.Future[None]) -> None:
        if waiter.done():
            return
        host, trouble = self._line.connector.host, self._trouble
        if trouble is None:
            waiter.set_exception(
                RedisTimeoutError(f"{host} did not confirm a subscription in time")
            )
        else:
            waiter.set_exception(RedisConnectionError(f"{host} is away: {trouble}"))

    def _tell(self, topic: bytes, error: Exception | None = None) -> None:
        for waiter in self._waiters.pop(topic, ()):
            if not waiter.done():
                if error is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(copy_of(error))

    def _fail_waiters(self, error: Exception) -> None:
        for topic in list(self._waiters):
            self._tell(topic, error)

    def _dismiss(self, topic: bytes, waiter: asyncio.Future[None]) -> None:
        waiters = self._waiters.get(topic)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[topic]

    def _is_wanted(self, topic: bytes) -> bool:
        return topic in self._waiters or self._line.is_heard(topic)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = start_task(coroutine)
        # It ends with its event loop, also with one that is closed without a word to its tasks.
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
        return task
