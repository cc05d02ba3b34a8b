"""Open connections to one host; through Sentinel, to the current master."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..concurrency import timeout
from .connection import Connection
from .redis_py import find_tls_refusal
from .sentinel import find_master

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis.asyncio.connection import AbstractConnection

    from ..config.hosts import Host
    from .commands import Command


class MinimumVersion(NamedTuple):
    """The minimum server version, and the feature that requires it."""

    major: int
    feature: str


# BZPOPMIN came with 5.0, and scripts that write after they have looked at the time.
ANY_VERSION = MinimumVersion(5, "")
SHARDED_PUBSUB = MinimumVersion(7, " for the option sharded_pubsub")


class Connector:
    """Opens connections to one host; through Sentinel, to the current master."""

    def __init__(self, host: Host, minimum_version: MinimumVersion = ANY_VERSION) -> None:
        self.host = host
        self._minimum_version = minimum_version
        # Not asked for each connection: servers are replaced by newer ones.
        self.version_is_known = False

    async def open(self, setup: Iterable[Command] = ()) -> Connection:
        """Return a new, ready connection.

        Args:
            setup: Commands to send first. An error that the server replies to one is raised.

        Raises:
            redis.exceptions.ConnectionError: The server could not be reached.
            redis.exceptions.TimeoutError: The server did not answer within the host's
                `connect_timeout` seconds.
        """
        seconds = self.host.connect_timeout
        try:
            async with timeout(seconds):
                unopened = await self._new_connection()
                connection = Connection(unopened)
                try:
                    await connection.connect()
                    await self._require_version(connection)
                    await _run(connection, tuple(setup))
                except RedisConnectionError as error:
                    await connection.close()
                    refusal = await find_tls_refusal(unopened, error)
                    if refusal is None:
                        raise
                    message = f"TLS with {self.host} failed: {refusal}"
                    raise RedisConnectionError(message) from refusal
                except BaseException:
                    await connection.close()
                    raise
                return connection
        except (asyncio.TimeoutError, RedisTimeoutError):
            raise self.too_late() from None

    def too_late(self) -> RedisTimeoutError:
        """Return the error for a connection that was not opened in time."""
        hint = "; does it speak TLS?" if self.host.url == "rediss://" else ""
        return RedisTimeoutError(
            f"{self.host} did not accept a connection within {self.host.connect_timeout:g} s{hint}"
        )

    async def _require_version(self, connection: Connection) -> None:
        if self.version_is_known:
            return
        version = await _version(connection)
        numbers = tuple(map(int, re.findall(r"\d+", version or "")[:2]))
        major, feature = self._minimum_version
        if numbers and numbers < (major, 0):
            raise ResponseError(
                f"{self.host} is version {version}, which is too old{feature}: "
                f"use Redis {major}.0 or newer, or Valkey"
            )
        self.version_is_known = True

    def to_key(self, key: str) -> Connector:  # noqa: ARG002 - one server has all keys
        """Return what opens connections to the server that has a key."""
        return self

    async def _new_connection(self) -> AbstractConnection:
        host = self.host
        arguments = dict(host.arguments)
        # The deadlines are ours: a blocking read may take longer than any socket_timeout.
        arguments.update(socket_timeout=None, socket_connect_timeout=host.connect_timeout)
        if host.sentinels:
            arguments["host"], arguments["port"] = await find_master(host)
        # redis-py's own way from arguments to a connection; the pool itself is not used.
        pool = ConnectionPool.from_url(host.url, **arguments)
        connection: AbstractConnection = pool.make_connection()
        return connection


async def _version(connection: Connection) -> str | None:
    """Return the server's version; None if it does not tell."""
    # Any user may call HELLO. A server that lacks it lacks ACLs, too, and answers INFO.
    await connection.write([("HELLO",)])
    reply: Any = await connection.read()
    if isinstance(reply, list):
        reply = dict(zip(reply[::2], reply[1::2], strict=False))
    version = reply.get(b"version") if isinstance(reply, dict) else None
    if not isinstance(version, bytes):
        await connection.write([("INFO", "server")])
        info = await connection.read()
        found = re.search(rb"redis_version:(\S+)", info) if isinstance(info, bytes) else None
        version = found[1] if found else None
    return None if version is None else version.decode()


async def _run(connection: Connection, commands: Sequence[Command]) -> None:
    if commands:
        await connection.write(commands)
        replies = [await connection.read() for _ in commands]
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
