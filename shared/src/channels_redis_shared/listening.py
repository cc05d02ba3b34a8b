"""Hands on what a server sends on a connection as it comes, unasked."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

try:
    import hiredis
except ImportError:
    hiredis = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable

    from .connections import Link

_INCOMPLETE = object()


def listen(link: Link, handle: Callable[[Any], object]) -> asyncio.Future[None]:
    """Call `handle` with each reply, error reply and message that comes on a connection.

    Nothing else may read on the connection from now on.

    Args:
        link: The connection.
        handle: Called in the event loop of the connection. What it raises ends the listening.

    Returns:
        A future that raises when the connection is lost. Cancel it to stop.
    """
    if hiredis is None:
        # In an empty context: it outlives the consumer that started it.
        return contextvars.Context().run(asyncio.ensure_future, _read(link, handle))
    return _Ear(link, handle).ended


async def _read(link: Link, handle: Callable[[Any], object]) -> None:
    link.expect_pushes()
    while True:
        handle(await link.read_next())


class _Ear(asyncio.Protocol):
    """Parses what arrives in the call that tells of it: no stream, no task to wake.

    redis-py's connection keeps its streams; what concerns writing and closing is passed on to them.
    """

    def __init__(self, link: Link, handle: Callable[[Any], object]) -> None:
        self._handle = handle
        self._transport, parse_error = link.transport, link.parse_error
        self._streams: Any = self._transport.get_protocol()
        self._parser = hiredis.Reader(
            protocolError=InvalidResponse, replyError=parse_error, notEnoughData=_INCOMPLETE
        )
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport.set_protocol(self)
        if self._transport.is_closing() or link.is_stale:
            self._end(RedisConnectionError("Connection closed by server."))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed(data)
            while (reply := self._parser.gets()) is not _INCOMPLETE and not self.ended.done():
                self._handle(reply)
        except Exception as error:  # noqa: BLE001 - who awaits the future gets it
            self._end(error)

    def eof_received(self) -> bool | None:
        self._end(RedisConnectionError("Connection closed by server."))
        keep_open: bool | None = self._streams.eof_received()
        return keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(RedisConnectionError(f"Connection closed: {exc or 'by server'}"))
        self._streams.connection_lost(exc)

    def pause_writing(self) -> None:
        self._streams.pause_writing()

    def resume_writing(self) -> None:
        self._streams.resume_writing()

    def _end(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)
