"""Finds out why a server will not serve us at all: its version, or our certificate."""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.asyncio.connection import SSLConnection
from redis.exceptions import ResponseError

from ..concurrency.compat import timeout
from .errors import tls_refusal

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection
    from redis.exceptions import ConnectionError as RedisConnectionError

    from .connection import Connection


class MinimumVersion(NamedTuple):
    """The oldest version that will do, and for what."""

    major: int
    what: str


# BZPOPMIN came with 5.0, and scripts that write after they have looked at the time.
ANY_VERSION = MinimumVersion(5, "")
SHARDED_PUBSUB = MinimumVersion(7, " for the option sharded_pubsub")

# Seconds that a server has for saying what is wrong with a certificate.
PATIENCE = 1.0


async def require_version(link: Connection, server: str, floor: MinimumVersion) -> None:
    """Raise ResponseError if the server is too old; one that tells no version is taken as it is.

    Args:
        link: A new connection.
        server: Names the server, for the error's text.
        floor: What it needs to be.
    """
    # Any user may call HELLO. A server that lacks it lacks ACLs, too, and answers INFO.
    await link.write([("HELLO",)])
    version = _from_hello(await link.read())
    if version is None:
        await link.write([("INFO", "server")])
        version = _from_info(await link.read())
    numbers = tuple(map(int, re.findall(r"\d+", version or "")[:2]))
    if numbers and numbers < (floor.major, 0):
        raise ResponseError(
            f"{server} is version {version}, which is too old{floor.what}: "
            f"use Redis {floor.major}.0 or newer, or Valkey"
        )


async def find_refusal(
    connection: AbstractConnection, error: RedisConnectionError
) -> ssl.SSLError | None:
    """Return what one side has against the other's certificate, if that may be why we got `error`.

    In TLS 1.3 the client may write before the server has looked at its certificate. What the
    server says of it is then lost in a connection reset; so this connects, and writes nothing.
    """
    known = tls_refusal(error)
    if known is not None or not isinstance(connection, SSLConnection):
        return known
    arguments = connection._connection_arguments()  # noqa: SLF001
    try:
        async with timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(**arguments)
            try:
                await reader.read(1)
            finally:
                writer.transport.abort()
    except ssl.SSLError as refusal:
        return refusal
    except (OSError, asyncio.TimeoutError):
        pass
    return None


def _from_hello(reply: Any) -> str | None:
    """Return the version in what HELLO replied: a list, or a dict with protocol 3."""
    if isinstance(reply, list):
        reply = dict(zip(reply[::2], reply[1::2], strict=False))
    found = reply.get(b"version") if isinstance(reply, dict) else None
    return found.decode() if isinstance(found, bytes) else None


def _from_info(reply: Any) -> str | None:
    found = re.search(rb"redis_version:(\S+)", reply) if isinstance(reply, bytes) else None
    return found[1].decode() if found else None
