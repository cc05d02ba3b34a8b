"""Open connections to one host."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..concurrency import timeout
from .advice import SENTINEL_FORM, advice_on_silence, explain, explain_tls
from .connection import Connection, Tenure
from .errors import tls_refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redis.asyncio.connection import AbstractConnection

    from ..config.hosts import Host
    from .commands import Command, CommandClient

# Seconds between two looks whether an open connection still leads to the server in charge.
LOOK_INTERVAL = 10.0
# Names the role, and any user may call it.
_HELLO = ("HELLO",)


class Connector:
    """Open connections to one host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._was_master = False
        self._tenure = Tenure()

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
                connection = Connection(await self._new_connection(), self.host, self._tenure)
                try:
                    await connection.connect()
                    await self._set_up(connection, setup)
                except BaseException:
                    connection.close()
                    raise
                return connection
        except (asyncio.TimeoutError, RedisTimeoutError):
            raise RedisTimeoutError(
                f"{self.host} did not accept a connection within {seconds:.2g} s"
                f"{advice_on_silence(self.host)}"
            ) from None
        except RedisError as error:
            refusal = tls_refusal(error)
            if refusal is not None:
                raise explain_tls(refusal, str(self.host)) from refusal
            explain(error, self.host)
            raise
        except Exception as error:
            # A credential provider, which may ask a service, raises what it likes.
            raise RedisConnectionError(f"Connecting to {self.host} failed: {error!r}") from error

    async def look(self, commands: CommandClient, key: str | None) -> None:
        """Look whether the server behind open connections is still in charge.

        A former master keeps them after a failover, and takes what is published there for itself.

        Args:
            commands: The connections.
            key: That of the commands on the connection that is asked about.

        Raises:
            redis.exceptions.RedisError: As `CommandClient.execute`.
        """
        reply = await commands.execute(_HELLO, key=key, idempotent=True)
        if introduction(reply).get(b"role", b"") not in {b"", b"master"}:
            self.on_replica()

    def on_replica(self) -> None:
        """Demote a server that has turned out to be a replica, if it was the master before."""
        # A replica that hosts name is left at that.
        if self._was_master:
            self.demote()

    def demote(self) -> None:
        """Let no connection be used that was opened up to now: the server is not in charge."""
        self._tenure.is_over = True
        self._tenure = Tenure()

    async def _set_up(self, connection: Connection, setup: Iterable[Command]) -> None:
        commands = (_HELLO, *setup)
        hello, *replies = await connection.exchange(commands, self.host.connect_timeout)
        self.check(hello)
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply

    def check(self, reply: Any) -> None:
        """Check what a server replies to HELLO on a new connection; one that lacks it may be any.

        Raises:
            redis.exceptions.ResponseError: It is a Sentinel, and not asked as one.
        """
        known = introduction(reply)
        self._was_master |= known.get(b"role") == b"master"
        if known.get(b"mode") == b"sentinel" and not self.host.is_sentinel:
            raise ResponseError(
                f"{self.host} is a Sentinel, which passes no messages: {SENTINEL_FORM}"
            )

    async def locate(self) -> Mapping[str, Any]:
        """Return the arguments of a new connection that others have to supply."""
        return {}

    async def learn(self) -> None:
        """Find out again which servers have the keys; for one server, there is nothing to do."""

    async def open_to(self, key: str) -> Connection:  # noqa: ARG002 - one server has all keys
        """Return a new, ready connection to the server that has a key."""
        return await self.open()

    async def _new_connection(self) -> AbstractConnection:
        host = self.host
        arguments = dict(host.arguments)
        # The deadlines are ours: a blocking read may take longer than any socket_timeout, and a
        # test that freezes the time moves those of redis-py.
        arguments.update(socket_timeout=None, socket_connect_timeout=None)
        arguments.update(await self.locate())
        # redis-py's own way from arguments to a connection; the pool itself is not used.
        pool = ConnectionPool.from_url(host.url, **arguments)
        connection: AbstractConnection = pool.make_connection()
        return connection


async def look_regularly(connector: Connector, commands: CommandClient, key: str | None) -> None:
    """Look again and again whether the server is still in charge; see `Connector.look`."""
    while True:
        # At once: a connection that is only opened after a failover leads to the new master.
        # Commands on the connection get the error, too.
        with contextlib.suppress(RedisError, OSError):
            await connector.look(commands, key)
        await asyncio.sleep(LOOK_INTERVAL)


def introduction(reply: Any) -> Mapping[bytes, Any]:
    """Return what a server replies to HELLO: its mode and role; nothing of an error."""
    if isinstance(reply, list):
        pairs = zip(reply[::2], reply[1::2], strict=False)
        return {name: value for name, value in pairs if isinstance(name, bytes)}
    return reply if isinstance(reply, dict) else {}
