"""All that touches redis-py's private attributes.

redis-py's connections show neither their transport nor their parser in public. Without the
transport nothing can be read where it arrives: opening a connection raises an error that says so.
Without the parser, error replies have redis-py's general class; without the arguments of a
connection, a refused certificate is reported as a lost connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

import redis
from redis.asyncio.connection import SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from ..concurrency import timeout
from .errors import tls_refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio.connection import AbstractConnection

# Seconds that a server has for its TLS alert.
ALERT_TIMEOUT = 1.0


def open_transport(connection: AbstractConnection) -> asyncio.Transport | None:
    """Return the transport of a connection; None while it is closed."""
    writer = getattr(connection, "_writer", None)
    return None if writer is None else writer.transport


async def transport_of(connection: AbstractConnection) -> asyncio.Transport:
    """Return the transport of an open connection.

    Raises:
        redis.exceptions.RedisError: redis-py does not give it.
    """
    transport = open_transport(connection)
    if transport is None:
        await connection.disconnect(nowait=True)
        raise RedisError(
            f"redis-py {redis.__version__} is not supported yet, as its connections have changed: "
            "install an earlier version"
        )
    return transport


def error_parser(connection: AbstractConnection) -> Callable[[str], Exception]:
    """Return the function that makes redis-py's exceptions of error replies."""
    parse_error: Callable[[str], Exception] = getattr(
        getattr(connection, "_parser", None), "parse_error", ResponseError
    )
    return parse_error


def close_now(connection: AbstractConnection) -> None:
    """Close a connection without waiting for the server, in any thread."""
    transport = open_transport(connection)
    if transport is not None:
        # redis-py would wait until the server has read all that was written; with TLS, for its
        # close_notify. The event loop may end before, or have ended.
        with contextlib.suppress(RuntimeError):
            transport.abort()
        # So that redis-py takes it for closed.
        connection._writer = connection._reader = None  # noqa: SLF001


async def find_tls_refusal(
    connection: AbstractConnection, error: RedisError
) -> ssl.SSLError | None:
    """Return the TLS alert behind an error, if there is one.

    In TLS 1.3 the client may write before the server has looked at its certificate, and the
    server's alert is then lost in a connection reset. So this connects again, and writes nothing.
    """
    known = tls_refusal(error)
    arguments = getattr(connection, "_connection_arguments", None)
    is_lost = isinstance(error, RedisConnectionError) and isinstance(connection, SSLConnection)
    if known is not None or arguments is None or not is_lost:
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
