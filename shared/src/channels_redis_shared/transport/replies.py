"""Parse replies where they arrive, with hiredis."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import hiredis
from redis.exceptions import BusyLoadingError, InvalidResponse, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from ..clock import monotonic
from .advice import explain
from .commands import name_forbidden
from .redis_py import error_parser, transport_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from redis.asyncio.connection import AbstractConnection

    from ..config.hosts import Host

# Returned by the parser while no reply is complete.
INCOMPLETE = object()


class ReplyReader(asyncio.Protocol):
    """The replies on a connection: to take in order, or to listen to.

    They are parsed in `data_received`: there is no stream, and no task to wake. redis-py's
    connection keeps its streams; events of writing and closing are passed on to them.

    Args:
        connection: redis-py's, just opened.
        host: The host, which errors name.
    """

    def __init__(self, connection: AbstractConnection, host: Host) -> None:
        self._parser = _parser(connection, host)
        self._replies: deque[Any] = deque()
        self._handle: Callable[[Any], object] = self._keep
        # The reason why the connection ended.
        self._end: Exception | None = None
        # The future of `take` and its arguments; the future of `listen`.
        self._waiter: asyncio.Future[list[Any]] | None = None
        self._wanted = 0
        self._on_arrival: Callable[[Iterable[Any]], object] | None = None
        self._listener: asyncio.Future[None] | None = None
        # Checks whether the server has been silent for too long.
        self._silence_timer: asyncio.TimerHandle
        # True if data has arrived since this was last reset.
        self._has_new_data = False
        transport = transport_of(connection)
        self._streams: Any = transport.get_protocol()
        transport.set_protocol(self)
        if transport.is_closing():
            self._stop(RedisConnectionError("Connection closed"))

    @property
    def has_ended(self) -> bool:
        """True if the connection was closed, or broke; only while no reply is due."""
        # A reply that was not due leaves the order of replies unknown.
        return self._end is not None or bool(self._replies)

    async def take(
        self,
        count: int,
        seconds: float | None = None,
        arrived: Callable[[Iterable[Any]], object] | None = None,
    ) -> list[Any]:
        """Return the next replies; an error that the server replied is returned, not raised.

        A call that is cancelled, or times out, leaves all of them to the next one.

        Args:
            count: The number of replies.
            seconds: How long the server may be silent; None: no limit. A reply of many megabytes
                may take as long as the network needs.
            arrived: Called with the replies as soon as all are there, up to a turn of the event
                loop before this returns; they count as taken then.

        Raises:
            redis.exceptions.ConnectionError: The connection is lost, or the server can't serve.
            asyncio.TimeoutError: Nothing arrived for `seconds`.
        """
        self._wanted, self._on_arrival = count, arrived
        if len(self._replies) >= count:
            replies = self._hand_over()
        else:
            replies = await self._wait(seconds) or self._hand_over()
        for reply in replies:
            # As redis-py does. A server that loads its data has executed nothing, however.
            if isinstance(reply, RedisConnectionError) and not isinstance(reply, BusyLoadingError):
                raise reply
        return replies

    def listen(self, handle: Callable[[Any], object]) -> asyncio.Future[None]:
        """Call `handle` with every reply, error and push from now on.

        Returns:
            A future that raises when the connection is lost, or what `handle` has raised.
        """
        self._handle = handle
        self._listener = asyncio.get_running_loop().create_future()
        if self._end is not None:
            self._listener.set_exception(self._end)
        return self._listener

    def data_received(self, data: bytes) -> None:
        """Handle each complete reply."""
        handle, gets = self._handle, self._parser.gets
        self._has_new_data = True
        try:
            self._parser.feed(data)
            while True:
                try:
                    reply = gets()
                # A map with a list as a key, or MOVED to nowhere: that is no Redis.
                except (TypeError, ValueError) as error:
                    raise InvalidResponse(f"a reply can't be read: {error}") from error
                if reply is INCOMPLETE:
                    break
                handle(reply)
            if self._waiter is not None and len(self._replies) >= self._wanted:
                self._wake(self._waiter)
        except Exception as error:  # noqa: BLE001 - raised in `take` or `listen`
            self._stop(error)

    def eof_received(self) -> bool | None:
        """End: the server has closed the connection."""
        self._stop(RedisConnectionError("Connection closed by server."))
        keep_open: bool | None = self._streams.eof_received()
        return keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the connection is closed."""
        reason = "Connection closed" if exc is None else f"Connection lost: {exc}"
        self._stop(RedisConnectionError(reason))
        self._streams.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass the event on."""
        self._streams.pause_writing()

    def resume_writing(self) -> None:
        """Pass the event on."""
        self._streams.resume_writing()

    async def _wait(self, seconds: float | None) -> list[Any]:
        """Wait for the replies; return them, or nothing if they are still to be handed over."""
        if self._end is not None:
            raise self._end
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[list[Any]] = loop.create_future()
        self._waiter = waiter
        if seconds is None:
            return await waiter
        self._has_new_data = False
        deadline = monotonic() + seconds
        # A third of the cost of `timeout`, for each message.
        self._silence_timer = loop.call_later(
            seconds, self._check_silence, waiter, seconds, deadline
        )
        try:
            return await waiter
        finally:
            self._silence_timer.cancel()

    def _check_silence(
        self, waiter: asyncio.Future[list[Any]], seconds: float, deadline: float
    ) -> None:
        """Time out, unless data has arrived meanwhile."""
        if waiter.done():
            return
        if self._has_new_data:
            self._has_new_data = False
            deadline = monotonic() + seconds
        # A test that freezes the time moves the clock of the loop, and with it this call.
        left = deadline - monotonic()
        if left > 0:
            self._silence_timer = asyncio.get_running_loop().call_later(
                left, self._check_silence, waiter, seconds, deadline
            )
        else:
            waiter.set_exception(asyncio.TimeoutError())

    def _hand_over(self) -> list[Any]:
        """Take the wanted replies."""
        replies = [self._replies.popleft() for _ in range(self._wanted)]
        if self._on_arrival is not None:
            self._on_arrival(replies)
        return replies

    def _wake(self, waiter: asyncio.Future[list[Any]]) -> None:
        """Resume `take` if it still waits."""
        if not waiter.done():
            # Without `arrived`, they are taken when it resumes: it may be cancelled before.
            waiter.set_result([] if self._on_arrival is None else self._hand_over())

    def _keep(self, reply: Any) -> None:
        if not isinstance(reply, hiredis.PushNotification):
            self._replies.append(reply)

    def _stop(self, error: Exception) -> None:
        if self._end is not None:
            return
        self._end = error
        self._handle = _ignore
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        if self._listener is not None and not self._listener.done():
            self._listener.set_exception(error)
            # Marked as retrieved: asyncio would log it if the listener is gone.
            self._listener.exception()


def _parser(connection: AbstractConnection, host: Host) -> hiredis.Reader:
    """Return hiredis's parser of replies, whose errors are redis-py's."""
    parse_error = error_parser(connection)

    def error_of(text: str) -> Exception:
        error = parse_error(text)
        if isinstance(error, ResponseError):
            error = name_forbidden(error)
        return explain(error, host)

    return hiredis.Reader(
        protocolError=InvalidResponse, replyError=error_of, notEnoughData=INCOMPLETE
    )


def _ignore(_reply: object) -> None:
    """Do nothing."""
