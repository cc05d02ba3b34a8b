"""An open connection, on which commands are written and replies read in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..clock import monotonic
from .commands import pack
from .redis_py import close_now, forget_streams, open_transport, transport_of
from .replies import ReplyReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from redis.asyncio.connection import AbstractConnection

    from ..config.hosts import Address, Host
    from .commands import Command

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
    _transport: asyncio.Transport

    def __init__(self, connection: AbstractConnection, host: Host) -> None:
        self._connection = connection
        self._host = host
        self._loop = asyncio.get_running_loop()
        self.opened_at = monotonic()
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
        self.replies = ReplyReader(self._connection, self._host)

    @property
    def address(self) -> Address:
        """The address of the node of a Cluster."""
        arguments = self._host.arguments
        return arguments["host"], arguments["port"]

    @property
    def loop_is_closed(self) -> bool:
        """True if its event loop is closed."""
        return self._loop.is_closed()

    @property
    def is_stale(self) -> bool:
        """True if the connection was closed while no reply was due."""
        # uvloop's transport is closed some turns before it says so, and then refuses every write.
        return self._transport.is_closing() or self.replies.has_ended

    async def write(self, commands: Iterable[Command]) -> None:
        """Send the commands in one write.

        Raises:
            redis.exceptions.ConnectionError: The connection broke.
        """
        await self._write(b"".join(map(pack, commands)), drain=True)

    async def _write(self, data: bytes, *, drain: bool) -> None:
        if self._transport.is_closing():
            raise RedisConnectionError("Connection closed")
        try:
            if drain:
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
        transport = open_transport(self._connection)
        copied = None if transport is None else transport.get_extra_info("socket")
        if copied is not None and copied.fileno() >= 0:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, copied.fileno())
            os.close(nothing)

    def abandon(self) -> None:
        """Close the socket of a connection whose event loop is already closed."""
        _open.discard(self)
        transport = open_transport(self._connection)
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
