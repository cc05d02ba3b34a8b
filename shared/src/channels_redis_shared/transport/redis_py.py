"""All that touches redis-py's private attributes.

redis-py's connections show neither their transport nor their parser in public. Without the
transport nothing can be read where it arrives: opening a connection raises an error that says so.
Without the parser, error replies have redis-py's general class.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import redis.cluster
from redis.exceptions import RedisError, ResponseError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from redis.asyncio.connection import AbstractConnection


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
    parser = getattr(connection, "_parser", None)
    # The only one of redis-py 5 that has classes for the redirects of a Cluster.
    parser = getattr(redis.cluster, "ClusterParser", parser)
    parse_error: Callable[[str], Exception] = getattr(parser, "parse_error", ResponseError)
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
