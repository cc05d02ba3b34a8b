"""All that touches redis-py's private attributes. Where one is gone, its caller does without.

redis-py's connections show neither their transport nor their parser in public. With them, replies
are parsed as they arrive; without, redis-py itself writes, reads and disconnects.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

from redis.asyncio.connection import SSLConnection

from ..concurrency import timeout
from .errors import tls_refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio.connection import AbstractConnection
    from redis.exceptions import ConnectionError as RedisConnectionError

# Seconds that a server has for its TLS alert.
ALERT_TIMEOUT = 1.0


def transport_of(connection: AbstractConnection) -> asyncio.Transport | None:
    """Return the transport of a connection, if it is open and redis-py gives it."""
    writer = getattr(connection, "_writer", None)
    return None if writer is None else writer.transport


def forget_streams(connection: AbstractConnection) -> None:
    """Make redis-py consider a connection closed whose transport was aborted."""
    if transport_of(connection) is not None:
        connection._writer = connection._reader = None  # noqa: SLF001


def stream_of(connection: AbstractConnection) -> Any:
    """Return the `asyncio.StreamReader` of an open connection, if redis-py gives it."""
    return getattr(connection, "_reader", None)


def error_parser(connection: AbstractConnection) -> Callable[[str], Exception] | None:
    """Return the function that makes redis-py's exceptions of error replies, if it gives it."""
    parse_error: Callable[[str], Exception] | None = getattr(
        getattr(connection, "_parser", None), "parse_error", None
    )
    return parse_error


def set_push_handler(
    connection: AbstractConnection, handle: Callable[[list[Any]], Awaitable[Any]]
) -> None:
    """Replace redis-py's own handler of pushes, which makes a text of each for its debug log."""
    parser = getattr(connection, "_parser", None)
    set_handler = getattr(parser, "set_pubsub_push_handler", None)
    if set_handler is not None:
        set_handler(handle)


async def close_now(connection: AbstractConnection) -> None:
    """Close a connection without waiting for the server."""
    transport = transport_of(connection)
    await connection.disconnect(nowait=True)
    if transport is not None:
        # It would wait until the server has read all that was written; with TLS, for its
        # close_notify. The event loop may end before.
        transport.abort()


async def find_tls_refusal(
    connection: AbstractConnection, error: RedisConnectionError
) -> ssl.SSLError | None:
    """Return the TLS alert behind a connection error, if there is one.

    In TLS 1.3 the client may write before the server has looked at its certificate, and the
    server's alert is then lost in a connection reset. So this connects again, and writes nothing.
    """
    known = tls_refusal(error)
    arguments = getattr(connection, "_connection_arguments", None)
    if known is not None or arguments is None or not isinstance(connection, SSLConnection):
        return known
    try:
        async with timeout(ALERT_TIMEOUT):
            reader, writer = await asyncio.open_connection(**arguments())
            try:
                await reader.read(1)
            finally:
                writer.transport.abort()
    except ssl.SSLError as refusal:
        return refusal
    except (OSError, asyncio.TimeoutError):
        pass
    return None
