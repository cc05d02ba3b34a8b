"""Opens connections to one host; through Sentinel, to the master of the moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..concurrency.compat import timeout
from .connection import Connection
from .refusals import ANY_VERSION, find_refusal, require_version
from .sentinel import find_master

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis.asyncio.connection import AbstractConnection

    from ..config.hosts import Host
    from .commands import Command
    from .refusals import MinimumVersion


class Connector:
    """Opens connections to one host; through Sentinel, to the master of the moment."""

    def __init__(self, host: Host, floor: MinimumVersion = ANY_VERSION) -> None:
        self.host = host
        self._floor = floor
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
                connection = await self._connection()
                link = Connection(connection)
                try:
                    await link.connect()
                    await self._require_version(link)
                    await _run(link, tuple(setup))
                except RedisConnectionError as error:
                    await link.close()
                    refusal = await find_refusal(connection, error)
                    if refusal is None:
                        raise
                    message = f"TLS with {self.host} failed: {refusal}"
                    raise RedisConnectionError(message) from refusal
                except BaseException:
                    await link.close()
                    raise
                return link
        except (asyncio.TimeoutError, RedisTimeoutError):
            raise self.too_late() from None

    def too_late(self) -> RedisTimeoutError:
        """Return the error for a connection that was not opened in time."""
        hint = "; does it speak TLS?" if self.host.url == "rediss://" else ""
        return RedisTimeoutError(
            f"{self.host} did not accept a connection within {self.host.connect_timeout:g} s{hint}"
        )

    async def _require_version(self, link: Connection) -> None:
        if not self.version_is_known:
            await require_version(link, str(self.host), self._floor)
            self.version_is_known = True

    def to_key(self, key: str) -> Connector:  # noqa: ARG002 - one server has all keys
        """Return what opens connections to the server that has a key."""
        return self

    async def _connection(self) -> AbstractConnection:
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


async def _run(link: Connection, commands: Sequence[Command]) -> None:
    if commands:
        await link.write(commands)
        replies = [await link.read() for _ in commands]
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
