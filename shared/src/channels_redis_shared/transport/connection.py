"""An open connection, on which commands are written and replies read in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from redis.exceptions import BusyLoadingError, InvalidResponse, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..concurrency import start_task, timeout
from .advice import explain
from .commands import name_forbidden, pack
from .redis_py import (
    close_now,
    error_parser,
    forget_streams,
    set_push_handler,
    stream_of,
    transport_of,
)

try:
    import hiredis
except ImportError:
    hiredis = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from redis.asyncio.connection import AbstractConnection

    from ..config.hosts import Host
    from .commands import Command

# Returned by hiredis's parser while no reply is complete.
INCOMPLETE = object()
# Pushes of protocol 3; older versions of hiredis have no type for them.
PUSHED = getattr(hiredis, "PushNotification", ())


class ReplyReader(Protocol):
    """The replies on a connection: to take in order, or to listen to."""

    async def has_ended(self) -> bool:
        """Return whether the connection was closed, or broke; only while no reply is due."""

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

    def listen(self, handle: Callable[[Any], object]) -> asyncio.Future[None]:
        """Call `handle` with every reply, error and push from now on.

        Returns:
            A future that raises when the connection is lost, or what `handle` has raised.
        """


def reply_reader(connection: AbstractConnection, host: Host) -> ReplyReader:
    """Return the reader of a connection to the host that redis-py has just opened."""
    transport, parse_error = transport_of(connection), error_parser(connection)
    if hiredis is None or transport is None or parse_error is None:
        return StreamReplyReader(connection, host)
    return ProtocolReplyReader(transport, parse_error, host)


def hiredis_reader(parse_error: Callable[[str], Exception], host: Host) -> Any:
    """Return hiredis's parser of replies, whose errors are redis-py's."""

    def error_of(text: str) -> Exception:
        error = parse_error(text)
        if isinstance(error, ResponseError):
            error = name_forbidden(error)
        return explain(error, host)

    return hiredis.Reader(
        protocolError=InvalidResponse, replyError=error_of, notEnoughData=INCOMPLETE
    )


class StreamReplyReader:
    """Read by redis-py's own `read_response`, with redis-py's parser."""

    def __init__(self, connection: AbstractConnection, host: Host) -> None:
        self._connection = connection
        self._host = host
        self._taken: list[Any] = []
        # True if data has arrived since this was last reset.
        self._has_new_data = False
        self._stream = stream_of(connection)
        if self._stream is not None:
            self._feed: Callable[[bytes], object] = self._stream.feed_data
            self._stream.feed_data = self._fed

    def _fed(self, data: bytes) -> None:
        self._has_new_data = True
        self._feed(data)

    async def has_ended(self) -> bool:
        """Return whether the connection was closed, or broke."""
        if self._stream is not None:
            return bool(self._stream.at_eof() or self._stream.exception())
        try:
            reply = await self._connection.read_response(timeout=0, disconnect_on_error=False)
        except (RedisError, OSError):
            return True
        # None: nothing came. A reply that was not due leaves the order of replies unknown.
        return reply is not None

    async def take(
        self,
        count: int,
        seconds: float | None = None,
        arrived: Callable[[Iterable[Any]], object] | None = None,
    ) -> list[Any]:
        """Return the next replies."""
        while len(self._taken) < count:
            self._has_new_data = False
            try:
                async with timeout(seconds):
                    while len(self._taken) < count:
                        self._taken.append(await self._next(push_request=False))
            except asyncio.TimeoutError:
                if not self._has_new_data:
                    raise
        taken, self._taken = self._taken[:count], self._taken[count:]
        if arrived is not None:
            arrived(taken)
        return taken

    def listen(self, handle: Callable[[Any], object]) -> asyncio.Future[None]:
        """Call `handle` with every reply and push, in a task."""
        set_push_handler(self._connection, _unchanged)
        return start_task(self._listen(handle))

    async def _listen(self, handle: Callable[[Any], object]) -> None:
        while True:
            handle(await self._next(push_request=True))

    async def _next(self, *, push_request: bool) -> Any:
        try:
            return await self._connection.read_response(
                disconnect_on_error=False, push_request=push_request
            )
        except BusyLoadingError as error:
            return error
        except ResponseError as error:
            return explain(name_forbidden(error), self._host)
        except (TypeError, ValueError) as error:  # as in `ProtocolReplyReader.data_received`
            raise InvalidResponse(f"a reply can't be read: {error}") from error


class ProtocolReplyReader(asyncio.Protocol):
    """Parse data with hiredis in `data_received`: no stream, no task to wake.

    redis-py's connection keeps its streams; events of writing and closing are passed on to them.
    """

    def __init__(
        self, transport: asyncio.Transport, parse_error: Callable[[str], Exception], host: Host
    ) -> None:
        self._parser = hiredis_reader(parse_error, host)
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
        self._streams: Any = transport.get_protocol()
        transport.set_protocol(self)
        if transport.is_closing():
            self._stop(RedisConnectionError("Connection closed"))

    async def has_ended(self) -> bool:
        """Return whether the connection was closed, or broke."""
        # A reply that was not due leaves the order of replies unknown.
        return self._end is not None or bool(self._replies)

    async def take(
        self,
        count: int,
        seconds: float | None = None,
        arrived: Callable[[Iterable[Any]], object] | None = None,
    ) -> list[Any]:
        """Return the next replies."""
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
        """Call `handle` with every reply and push, as it arrives."""
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
        # A third of the cost of `timeout`, for each message.
        self._silence_timer = loop.call_later(seconds, self._check_silence, waiter, seconds)
        try:
            return await waiter
        finally:
            self._silence_timer.cancel()

    def _check_silence(self, waiter: asyncio.Future[list[Any]], seconds: float) -> None:
        """Time out, unless data has arrived meanwhile."""
        if waiter.done():
            return
        if self._has_new_data:
            self._has_new_data = False
            loop = asyncio.get_running_loop()
            self._silence_timer = loop.call_later(seconds, self._check_silence, waiter, seconds)
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
        if not isinstance(reply, PUSHED):
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


async def _unchanged(push: list[Any]) -> list[Any]:
    return push


def _ignore(_reply: object) -> None:
    """Do nothing."""


# Kept alive until they are closed: a layer that is dropped unclosed is collected as a whole, and
# its event loop closes it only then, while redis-py already warns about an open connection.
_open: set[Connection] = set()
_inherited: list[Connection] = []


def _detach_all() -> None:
    for connection in _open:
        connection.detach_after_fork()
    _inherited.extend(_open)
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_detach_all)


def _abandon_unfinished() -> None:
    """Close connections that were being opened as their event loop was closed: no one else can."""
    for connection in list(_open):
        if connection.loop_is_closed:
            connection.abandon()


class Connection:
    """An open connection. It never retries: a command that was written may have been executed."""

    replies: ReplyReader
    _transport: asyncio.Transport | None

    def __init__(self, connection: AbstractConnection, host: Host) -> None:
        self._connection = connection
        self._host = host
        self._loop = asyncio.get_running_loop()
        _abandon_unfinished()
        _open.add(self)

    async def connect(self) -> None:
        """Open the connection, log in, select the database.

        Raises:
            redis.exceptions.ConnectionError: It could not be opened.
            redis.exceptions.ResponseError: The server refused the user or the database.
        """
        refusal: BaseException | None = None
        try:
            await self._connection.connect()
        except RedisConnectionError as error:
            # redis-py wraps what a server replies at a UNIX socket, such as a refused password.
            refusal = error.__cause__
            if not isinstance(refusal, RedisError):
                raise
        if refusal is not None:
            # Not above: the two errors would be each other's context.
            raise refusal
        self._transport = transport_of(self._connection)
        self.replies = reply_reader(self._connection, self._host)

    @property
    def loop_is_closed(self) -> bool:
        """True if its event loop is closed."""
        return self._loop.is_closed()

    async def is_stale(self) -> bool:
        """Return whether the connection was closed while no reply was due."""
        # uvloop's transport is closed some turns before it says so, and then refuses every write.
        return self._is_closing() or await self.replies.has_ended()

    def _is_closing(self) -> bool:
        if self._transport is None:
            return not self._connection.is_connected
        return self._transport.is_closing()

    async def write(self, commands: Iterable[Command]) -> None:
        """Send the commands in one write.

        Raises:
            redis.exceptions.ConnectionError: The connection broke.
        """
        await self._write(b"".join(map(pack, commands)), drain=True)

    async def _write(self, data: bytes, *, drain: bool) -> None:
        if self._is_closing():
            raise RedisConnectionError("Connection closed")
        try:
            if drain or self._transport is None:
                await self._connection.send_packed_command(data, check_health=False)
            else:
                self._transport.write(data)
        except RuntimeError as error:  # uvloop's word for a connection that was reset
            raise RedisConnectionError(f"Connection lost: {error}") from error

    async def exchange(self, commands: Sequence[Command], seconds: float) -> list[Any]:
        """Send the commands in one write and return their replies; see `exchange_packed`."""
        return await self.exchange_packed([pack(command) for command in commands], seconds)

    async def exchange_packed(
        self,
        packed: Sequence[bytes],
        seconds: float,
        arrived: Callable[[Iterable[Any]], object] | None = None,
    ) -> list[Any]:
        """Send packed commands in one write and return their replies.

        Args:
            packed: The commands, as `pack` returns them.
            seconds: How long the server may be silent.
            arrived: Called with the replies as soon as all have arrived; see `ReplyReader.take`.

        Raises:
            redis.exceptions.TimeoutError: The replies did not come in time. Close the connection:
                a late reply would be taken for another command's.
            redis.exceptions.ConnectionError: The connection broke.
        """
        # Not drained: the next exchange begins only when all replies to this one are there.
        await self._write(b"".join(packed), drain=False)
        try:
            return await self.replies.take(len(packed), seconds, arrived)
        except asyncio.TimeoutError:
            raise RedisTimeoutError(f"The server did not answer within {seconds:g} s") from None

    def detach_after_fork(self) -> None:
        """Replace the copy of the socket in a fork's child, which must not use it.

        Closing it would remove it from the selector, which parent and child share, and the parent
        would no longer receive anything. From now on, closing it closes something else.
        """
        transport = transport_of(self._connection)
        copied = None if transport is None else transport.get_extra_info("socket")
        if copied is not None and copied.fileno() >= 0:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, copied.fileno())
            os.close(nothing)

    def abandon(self) -> None:
        """Close the socket of a connection whose event loop is already closed."""
        _open.discard(self)
        transport = transport_of(self._connection)
        if transport is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it can't finish this
                transport.abort()
            finish = getattr(transport, "_call_connection_lost", None)
            if finish is not None:
                # Nor wake the reader; and the transport may have done it before.
                with contextlib.suppress(RuntimeError, AttributeError):
                    finish(None)
        forget_streams(self._connection)

    async def close(self) -> None:
        """Close the connection."""
        _open.discard(self)
        await close_now(self._connection)
