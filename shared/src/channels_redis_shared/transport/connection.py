"""An open connection, on which commands are written and replies read in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .commands import pack
from .redis_py import close_now
from .replies import reply_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from redis.asyncio.connection import AbstractConnection

    from .commands import Command
    from .replies import ReplyReader

# Kept alive until they are closed: a layer that is dropped unclosed is collected as a whole, and
# its event loop closes it only then, while redis-py already complains of an open connection.
_open: set[Connection] = set()
_inherited: list[Connection] = []


def _disown_all() -> None:
    for link in _open:
        link.detach_after_fork()
    _inherited.extend(_open)
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)


def _drop_unfinished() -> None:
    """Abandon what was being opened when its event loop was closed: nobody else knows of it."""
    for link in list(_open):
        if link.is_orphan:
            link.abandon()


class Connection:
    """One open connection. Nothing here retries: what was written may have been carried out."""

    _incoming: ReplyReader

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        _drop_unfinished()
        _open.add(self)

    async def connect(self) -> None:
        """Open the connection, log in, select the database.

        Raises:
            redis.exceptions.ConnectionError: It could not be opened.
        """
        await self._connection.connect()
        self._incoming = reply_reader(self._connection)

    @property
    def is_orphan(self) -> bool:
        """Tell whether its event loop is closed."""
        return self._loop.is_closed()

    @property
    def is_stale(self) -> bool:
        """Tell whether the server has closed the connection while nobody was reading."""
        # redis-py's own check for this changed its name and its cost between 5 and 8.
        reader, writer = self._connection._reader, self._connection._writer  # noqa: SLF001
        if reader is None or writer is None:
            return True
        # uvloop's transport is closed some turns before it says so, and then refuses every write.
        return reader.at_eof() or reader.exception() is not None or writer.is_closing()

    async def write(self, commands: Sequence[Command]) -> None:
        """Send the commands in one write.

        Raises:
            redis.exceptions.ConnectionError: The connection broke.
        """
        packed = b"".join(map(pack, commands))
        try:
            await self._connection.send_packed_command(packed, check_health=False)
        except RuntimeError as error:  # uvloop's word for a connection that was reset
            raise RedisConnectionError(f"Connection lost: {error}") from error

    async def read(self) -> Any:
        """Return the next reply; an error that the server replied is returned, not raised.

        A cancelled read leaves the reply to the next one.
        """
        [reply] = await self._incoming.take(1)
        return reply

    async def take(self, count: int, seconds: float) -> list[Any]:
        """Return the next replies; see `ReplyReader.take`."""
        return await self._incoming.take(count, seconds)

    def listen(self, handle: Callable[[Any], object]) -> asyncio.Future[None]:
        """Call `handle` with all that comes from now on; see `ReplyReader.listen`."""
        return self._incoming.listen(handle)

    async def exchange(self, commands: Sequence[Command], seconds: float) -> list[Any]:
        """Send the commands in one write and return their replies; see `exchange_packed`."""
        return await self.exchange_packed([pack(command) for command in commands], seconds)

    async def exchange_packed(
        self,
        packed: Sequence[bytes],
        seconds: float,
        arrived: Callable[[Iterable[Any]], object] | None = None,
    ) -> list[Any]:
        """Send commands that `pack` has returned in one write and return their replies.

        Args:
            packed: The commands, in order.
            seconds: How long the server may be silent.
            arrived: Called with the replies at once when all are there; see `ReplyReader.take`.

        Raises:
            redis.exceptions.TimeoutError: The replies did not come in time. The connection can't
                be used any more: a late reply would be taken for another's.
            redis.exceptions.ConnectionError: The connection broke.
        """
        writer = self._connection._writer  # noqa: SLF001
        if writer is None:
            raise RedisConnectionError("Connection closed")
        # Not drained: the next exchange begins only when all replies to this one are there.
        try:
            writer.write(b"".join(packed))
        except RuntimeError as error:  # uvloop's word for a connection that was reset
            raise RedisConnectionError(f"Connection lost: {error}") from error
        try:
            return await self._incoming.take(len(packed), seconds, arrived)
        except asyncio.TimeoutError:
            raise RedisTimeoutError(f"The server did not answer within {seconds:g} s") from None

    def detach_after_fork(self) -> None:
        """Let go of a socket that a fork has copied: this process must not touch it any more.

        Closing it would take it out of the selector, which parent and child share, so that the
        parent would hear nothing any more. What closes it now closes something else.
        """
        writer = self._connection._writer  # noqa: SLF001
        copied = None if writer is None else writer.get_extra_info("socket")
        if copied is not None and copied.fileno() >= 0:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, copied.fileno())
            os.close(nothing)

    def abandon(self) -> None:
        """Close the socket of a connection whose event loop is closed."""
        _open.discard(self)
        connection = self._connection
        writer, connection._writer, connection._reader = connection._writer, None, None  # noqa: SLF001
        if writer is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it can't finish this
                writer.transport.abort()
            finish = getattr(writer.transport, "_call_connection_lost", None)
            if finish is not None:
                # Nor wake who was reading; and the transport may have done it before.
                with contextlib.suppress(RuntimeError, AttributeError):
                    finish(None)

    async def close(self) -> None:
        """Close the connection."""
        _open.discard(self)
        await close_now(self._connection)
