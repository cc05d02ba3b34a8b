"""Ask the servers of a host about themselves."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from ..concurrency import timeout
from ..transport.cluster import Cluster
from ..transport.connector import speaks_tls
from ..transport.errors import is_temporary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from ..config.hosts import Host
    from ..transport.connection import Connection
    from ..transport.connector import Connector

# Seconds until a server has to reply.
REPLY_TIMEOUT = 10
# Seconds for what answers at an address where no connection could be made.
HTTP_TIMEOUT = 2
# Enough for a meaningful 99th percentile.
PINGS = 200


@dataclass(frozen=True)
class ServerFacts:
    """The facts that a server reports.

    Attributes:
        info: The fields of INFO; empty if this user may not call it.
        buffer_limits: For each class of clients the hard and soft limit in bytes, and seconds;
            None if this user may not call CONFIG GET.
        round_trips: Seconds of each, in ascending order.
        clock_offset: Seconds that its clock is ahead of ours; None if this user may not call TIME.
    """

    info: Mapping[str, str]
    buffer_limits: Mapping[str, tuple[int, int, int]] | None
    round_trips: list[float]
    clock_offset: float | None

    @property
    def name(self) -> str:
        """Its product and version."""
        product = "Valkey" if "valkey_version" in self.info else "Redis"
        number = self.info.get("valkey_version") or self.info.get("redis_version")
        return f"{product} {number}" if number else "a server that does not tell its version"


@asynccontextmanager
async def open_connection(connector: Connector) -> AsyncIterator[Connection]:
    """Open a connection for the block."""
    connection = await connector.open()
    try:
        yield connection
    finally:
        await connection.close()


async def list_servers(connector: Connector) -> list[tuple[str, Connector]]:
    """Return each server of a host, with its name.

    Raises:
        redis.exceptions.RedisError: The nodes of a Cluster can't be asked.
    """
    if not isinstance(connector, Cluster):
        return [(str(connector.host), connector)]
    await connector.learn()
    return [
        (f"{host}:{port}", connector.node((host, port)))
        for host, port in sorted(connector.owners())
    ]


async def read_facts(connection: Connection) -> ServerFacts:
    """Ask the server on a new connection about itself.

    Raises:
        redis.exceptions.RedisError: The connection broke, or the server can't serve for now.
    """
    round_trips = sorted([await _time_ping(connection) for _ in range(PINGS)])
    clock_offset = await _read_clock(connection)
    info, limits = await connection.exchange(
        [("INFO",), ("CONFIG", "GET", "client-output-buffer-limit")], REPLY_TIMEOUT
    )
    return ServerFacts(parse_info(info), parse_buffer_limits(limits), round_trips, clock_offset)


def parse_info(reply: Any) -> dict[str, str]:
    """Return the fields in the reply to INFO."""
    if not isinstance(reply, bytes | str):
        return {}
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    lines = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, colon, value in lines if colon}


def parse_buffer_limits(reply: Any) -> dict[str, tuple[int, int, int]] | None:
    """Return the limits in the reply to CONFIG GET client-output-buffer-limit."""
    if isinstance(reply, dict):
        reply = [text for pair in reply.items() for text in pair]
    if not isinstance(reply, list) or not reply:
        return None
    words = iter(reply[1].decode().split())
    return {
        client_class: (int(hard), int(soft), int(seconds))
        for client_class, hard, soft, seconds in zip(words, words, words, words, strict=True)
    }


async def _time_ping(connection: Connection) -> float:
    # A user without the right to PING gets its refusal in the same time.
    started = time.perf_counter()
    [reply] = await connection.exchange([("PING",)], REPLY_TIMEOUT)
    if isinstance(reply, RedisError) and is_temporary(reply):
        raise reply
    return time.perf_counter() - started


async def _read_clock(connection: Connection) -> float | None:
    before = time.time()
    [reply] = await connection.exchange([("TIME",)], REPLY_TIMEOUT)
    ours = (before + time.time()) / 2
    if isinstance(reply, RedisError):
        return None
    return float(reply[0]) + float(reply[1]) / 1_000_000 - ours


async def detect_protocol(host: Host) -> str | None:
    """Return what a server's port, or that of a Cluster's node, speaks.

    Returns:
        "redis", "rediss" or "http"; None if it can't be told.
    """
    addresses: list[tuple[Any, Any]] = [*host.nodes]
    addresses.append((host.arguments.get("host"), host.arguments.get("port")))
    name, port = addresses[0]
    if host.sentinels or name is None:
        return None
    reply = await _request(name, port)
    if reply.startswith(b"HTTP/"):
        return "http"
    if reply.startswith(b"-"):  # Redis refuses this request as a command
        return "redis"
    return "rediss" if await speaks_tls(name, port) else None


async def _request(host: str, port: int) -> bytes:
    """Return the start of the reply to an HTTP request; b"" if none comes."""
    try:
        async with timeout(HTTP_TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                return await reader.read(5)
            finally:
                writer.transport.abort()
    except (OSError, UnicodeError, asyncio.TimeoutError):  # a UnicodeError: no name of a host
        return b""
