"""An open connection, on which commands are written and replies parsed where they arrive."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import hiredis
from redis.exceptions import BusyLoadingError, InvalidResponse, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..clock import monotonic
from .advice import explain
from .commands import pack, settle
from .redis_py import close_now, error_parser, open_transport, transport_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from redis.asyncio.connection import AbstractConnection

    from ..config.hosts import Host
    from .commands import Command

# Returned by the parser while no reply is complete.
INCOMPLETE = object()

# Kept alive until they are closed: a layer that is dropped unclosed is collected as a whole, and
# its event loop closes it only then, while redis-py already warns about an open connection.
_open: set[Connection] = set()
_inherited: list[Connection] = []


def _abandon_all() -> None:
    for connection in _open:
        connection.abandon_after_fork()
    _inherited.extend(_open)
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)


class Tenure:
    """The time in which a server is in charge, and connections to it are of use."""

    is_over = False


class Connection(asyncio.Protocol):
    """A connection. It never retries: a command that was written may have been executed.

    Replies are parsed in `data_received`: there is no stream, and no task to wake.

    Args:
        connection: redis-py's, which is not open yet.
        host: The host, which errors name.
        tenure: That of the server.
    """

    _transport: asyncio.Transport
    _parser: hiredis.Reader

    def __init__(self, connection: AbstractConnection, host: Host, tenure: Tenure) -> None:
        self._connection = connection
        self._host = host
        self._loop = asyncio.get_running_loop()
        self.tenure = tenure
        self._replies: deque[Any] = deque()
        # The reason why the connection ended.
        self._end: Exception | None = None
        # The function that gets each reply from now on, instead of `pop`.
        self._handle: Callable[[Any], object] | None = None
        # Called when so many replies are there, or with the error if they won't come.
        self._ready: Callable[[Exception | None], object] | None = None
        self._wanted = 0
        # Seconds that the server may be silent until then. The timer looks at that, and is left
        # running between calls: one for each took a tenth of the time of a message.
        self._seconds = 0.0
        self._silence_timer: asyncio.TimerHandle | None = None
        # The `monotonic()` at which data came last.
        self.heard_at = 0.0
        # No one else can close those of an event loop that was closed without cleanup.
        for other in list(_open):
            if other._loop.is_closed():  # noqa: SLF001
                other.close()
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
        self._transport = await transport_of(self._connection)
        self._parser = _parser(self._connection, self._host)
        self._transport.set_protocol(self)
        if self._transport.is_closing():
            self._stop(RedisConnectionError("Connection closed"))

    @property
    def is_stale(self) -> bool:
        """True if no more commands should be written, as they may be lost."""
        # uvloop's transport is closed some turns before it says so, and then refuses every write.
        # A reply that was not due leaves the order of replies unknown.
        return (
            self.tenure.is_over
            or self._transport.is_closing()
            or self._end is not None
            or bool(self._replies)
        )

    def write(self, packed: Iterable[bytes]) -> None:
        """Send commands, as `pack` returns them, in one write.

        Raises:
            redis.exceptions.ConnectionError: The connection broke.
        """
        # Not drained: the next write follows only when the replies are there.
        if self._transport.is_closing():
            raise RedisConnectionError("Connection closed")
        try:
            self._transport.write(b"".join(packed))
        except RuntimeError as error:  # uvloop's word for a connection that was reset
            raise RedisConnectionError(f"Connection lost: {error}") from error

    async def exchange(self, commands: Sequence[Command], seconds: float) -> list[Any]:
        """Send commands in one write and return their replies; see `take`."""
        self.write(map(pack, commands))
        return await self.take(len(commands), seconds)

    async def take(self, count: int, seconds: float) -> list[Any]:
        """Return the next replies; an error that the server replied is returned, not raised.

        A call that is cancelled, or times out, leaves all of them to the next one.

        Args:
            count: The number of replies.
            seconds: As for `when_ready`.

        Raises:
            redis.exceptions.TimeoutError: They did not come in time.
            redis.exceptions.ConnectionError: The connection is lost, or the server can't serve.
        """
        if len(self._replies) < count:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self.when_ready(count, seconds, partial(settle, waiter))
            await waiter
        replies = self.pop(count)
        for reply in replies:
            # As redis-py does. A server that loads its data has executed nothing, however.
            if isinstance(reply, RedisConnectionError) and not isinstance(reply, BusyLoadingError):
                raise reply
        return replies

    def pop(self, count: int) -> list[Any]:
        """Return the next replies, as far as they have arrived."""
        return [self._replies.popleft() for _ in range(min(count, len(self._replies)))]

    def when_ready(
        self, count: int, seconds: float, ready: Callable[[Exception | None], object]
    ) -> None:
        """Call a function once, when replies have arrived, or will not.

        Args:
            count: The number of replies.
            seconds: How long the server may be silent. A reply of many megabytes may take as long
                as the network needs.
            ready: The function. It gets None, or the error: then close the connection, as a late
                reply would be taken for another command's.
        """
        self._wanted, self._ready, self._seconds = count, ready, seconds
        self.heard_at = monotonic()
        timer = self._silence_timer
        if timer is None or timer.when() > self._loop.time() + seconds:
            self._stop_timer()
            self._silence_timer = self._loop.call_later(seconds, self._check_silence)
        if self._end is not None:
            self._call_ready(self._end)

    def listen(self, handle: Callable[[Any], object]) -> asyncio.Future[None]:
        """Call `handle` with every reply, error and push from now on.

        Returns:
            A future that raises when the connection is lost, or what `handle` has raised.
        """
        lost: asyncio.Future[None] = self._loop.create_future()
        self._handle, self._ready = handle, partial(settle, lost)
        self._stop_timer()
        if self._end is not None:
            self._call_ready(self._end)
        return lost

    def data_received(self, data: bytes) -> None:
        """Parse the replies that are complete, and pass them on."""
        self.heard_at = monotonic()
        replies, gets, handle = self._replies, self._parser.gets, self._handle
        error: Exception | None = None
        self._parser.feed(data)
        try:
            while True:
                try:
                    reply = gets()
                # A map with a list as a key, or MOVED to nowhere: that is no Redis.
                except (TypeError, ValueError) as unreadable:
                    raise InvalidResponse(f"a reply can't be read: {unreadable}") from None
                if reply is INCOMPLETE:
                    break
                if handle is not None:
                    # At once: thousands kept at the same time would get old, and make the garbage
                    # collector look at all objects of the process.
                    handle(reply)
                elif not isinstance(reply, hiredis.PushNotification):
                    replies.append(reply)
        except Exception as raised:  # noqa: BLE001 - raised in the listener
            error = raised
        if handle is None and self._ready is not None and len(replies) >= self._wanted:
            self._call_ready(None)
        if error is not None:
            self._stop(error)

    def eof_received(self) -> None:
        """End: the server has closed the connection."""
        self._stop(RedisConnectionError("Connection closed by server."))

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the connection is closed."""
        reason = "Connection closed" if exc is None else f"Connection lost: {exc}"
        self._stop(RedisConnectionError(reason))

    def abandon_after_fork(self) -> None:
        """Replace the copy of the socket in a fork's child, which must not use it.

        Closing it would remove it from the selector, which parent and child share, and the parent
        would no longer receive anything. From now on, closing it closes something else.
        """
        transport = open_transport(self._connection)
        copied = None if transport is None else transport.get_extra_info("socket")
        if copied is not None and copied.fileno() >= 0:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, copied.fileno())
            os.close(nothing)

    def close(self) -> None:
        """Close the connection, also if its event loop is closed already."""
        _open.discard(self)
        self._stop_timer()
        transport = open_transport(self._connection)
        close_now(self._connection)
        finish = getattr(transport, "_call_connection_lost", None)
        if finish is not None and self._loop.is_closed():
            # The loop can't finish this, nor wake anyone; and the transport may have done it.
            with contextlib.suppress(RuntimeError, AttributeError):
                finish(None)

    def _stop(self, error: Exception) -> None:
        if self._end is None:
            self._end = error
            self._handle = _ignore
            self._call_ready(error)

    def _call_ready(self, error: Exception | None) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            ready(error)

    def _check_silence(self) -> None:
        """Time out, unless data has arrived meanwhile, or no reply is waited for."""
        self._silence_timer = None
        if self._ready is None:
            return
        # A test that freezes the time moves the clock of the loop, and with it this call.
        left = self.heard_at + self._seconds - monotonic()
        if left > 0:
            self._silence_timer = self._loop.call_later(left, self._check_silence)
        else:
            text = f"The server did not answer within {self._seconds:g} s"
            self._call_ready(RedisTimeoutError(text))

    def _stop_timer(self) -> None:
        timer, self._silence_timer = self._silence_timer, None
        if timer is not None:
            timer.cancel()


def _parser(connection: AbstractConnection, host: Host) -> hiredis.Reader:
    """Return hiredis's parser of replies, whose errors are redis-py's."""
    parse_error = error_parser(connection)

    def error_of(text: str) -> Exception:
        return explain(parse_error(text), host)

    return hiredis.Reader(
        protocolError=InvalidResponse, replyError=error_of, notEnoughData=INCOMPLETE
    )


def _ignore(_reply: object) -> None:
    """Do nothing."""
