"""A bounded pool of redis-py's synchronous connections to one server; threads share it."""

from __future__ import annotations

import queue
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis import asyncio as redis_asyncio
from redis import connection as synchronous
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    InvalidResponse,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from ..clock import monotonic
from ..config.connection_arguments import keywords
from ..transport.advice import explain
from ..transport.commands import name_forbidden, pack
from ..transport.connector import LOOK_INTERVAL, introduction
from ..transport.errors import is_redirect, is_transient
from ..transport.sentinel import find_master, require_master

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config.hosts import Address, Host
    from ..ops.statistics import Counters
    from ..transport.commands import Script
    from ..transport.connector import Connector

# Connections to one server, however many threads call.
MAX_CONNECTIONS = 4
# Seconds without use after which a connection is probed: a middlebox may have forgotten it.
IDLE_SECONDS = 1.0
# Longest wait, in seconds, for the answer to a probe.
PROBE_SECONDS = 1.0

_HELLO = pack(("HELLO",))

_TWINS: dict[type, Any] = {
    redis_asyncio.Connection: synchronous.Connection,
    redis_asyncio.SSLConnection: synchronous.SSLConnection,
    redis_asyncio.UnixDomainSocketConnection: synchronous.UnixDomainSocketConnection,
}
# Arguments whose value only suits an asynchronous connection.
_ASYNCHRONOUS = ("parser_class", "redis_connect_func")


class UnansweredError(Exception):
    """Raised when a command was written and no reply came: it may have been executed."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class _NotOpenError(Exception):
    """Raised when a connection would have to be opened first."""


@dataclass
class _PooledConnection:
    """The place of one connection in the pool."""

    connection: synchronous.AbstractConnection | None = None
    used_at: float = 0.0
    looked_at: float = 0.0
    was_open: bool = False

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.disconnect()


class SynchronousPool:
    """The synchronous connections of a process to one server."""

    def __init__(
        self,
        connector: Connector,
        address: Address | None,
        scripts: Sequence[Script],
        counters: Counters,
    ) -> None:
        self._connector = connector
        self._address = address
        self._host = connector.host if address is None else connector.host.at(address)
        self._arguments = synchronous_arguments(self._host) or {}
        self._scripts = scripts
        self._counters = counters
        # Each layer's users are allowed one of these: docs/servers.md has the rules.
        self._probe = pack(("TIME",) if scripts else ("PING",))
        self._keeps_connections = True
        # Replaced by each close, so that connections in use then are closed after their call.
        self._era = object()
        self._free = _new_connections()

    async def exchange(self, packed: bytes) -> Any:
        """Send a packed command and return its reply; an error replied is returned, not raised.

        Raises:
            UnansweredError: The reply did not come.
            redis.exceptions.RedisError: The command was not written as a whole.
        """
        try:
            reply = await self._exchange_with_master(packed)
        except RedisConnectionError as error:
            if self._host.url != "rediss://" and self._connector.version_is_known:
                explain(error, self._host)
                raise
            lost = error
        except RedisError as error:
            explain(error, self._host)
            raise
        else:
            if not isinstance(reply, Exception):
                return reply
            if not isinstance(reply, ResponseError) or self._connector.version_is_known:
                return explain(reply, self._host)
            return await self._explained(reply)
        # Outside of the handler, which would become the error's context.
        raise await self._explained(lost)

    def close(self) -> None:
        """Close the connections; those in use, when they are free again."""
        self._era = object()
        idle: list[_PooledConnection] = []
        with suppress(queue.Empty):
            while True:
                idle.append(self._free.get_nowait())
        for pooled in idle:
            pooled.close()
            self._free.put(_PooledConnection())  # threads may wait for it

    def close_for_good(self) -> None:
        """Close the connections, and from now on each one after its call."""
        self._keeps_connections = False
        # Without the lock: in a fork's child, a thread of the parent may have held it.
        for pooled in list(self._free.queue):
            pooled.close()

    async def _explained(self, error: RedisError) -> Exception:
        """Return the reason why the server accepts no connections, or else the error."""
        try:
            connection = await self._connector.open()
        except (RedisError, OSError) as reason:
            return explain(error, self._host) if is_transient(reason) else reason
        connection.close()
        return explain(error, self._host)

    async def _exchange_with_master(self, packed: bytes) -> Any:
        """Exchange on an open connection, or a new one to a server that is still the master."""
        if not self._connector.host.sentinels:
            return self._exchange(packed)
        with suppress(_NotOpenError):
            return self._exchange(packed, opens=False)
        # An old master that has come back takes itself for the master, until Sentinels tell it.
        if await find_master(self._connector.host) != self._address:
            raise RedisConnectionError(f"{self._host} is no longer the master")
        return self._exchange(packed)

    def _exchange(self, packed: bytes, *, opens: bool = True) -> Any:
        free, era = self._free, self._era
        pooled = self._take(free)
        try:
            connection = self._ready(pooled, opens=opens)
            self._counters.commands += 1
            self._counters.round_trips += 1
            reply = _execute(connection, packed)
            if isinstance(reply, NoScriptError):
                refusal = self._load_scripts(connection)
                reply = _execute(connection, packed) if refusal is None else refusal
            if isinstance(reply, RedisConnectionError) or (
                isinstance(reply, Exception) and is_transient(reply) and not is_redirect(reply)
            ):
                # redis-py closed it, or a new one may lead to another server that can serve.
                pooled.close()
            pooled.used_at = monotonic()
        except BaseException:
            # A late reply would be taken for another command's.
            pooled.close()
            raise
        finally:
            if era is not self._era or not self._keeps_connections:
                pooled.close()
                pooled = _PooledConnection()
            free.put(pooled)
        return reply

    def _load_scripts(self, connection: synchronous.AbstractConnection) -> Exception | None:
        """Load the scripts; return the error if the server refuses."""
        for script in self._scripts:
            _send(connection, pack(script.load))
            reply = _read(connection)
            if isinstance(reply, Exception):
                return reply
        return None

    def _take(self, free: queue.LifoQueue[_PooledConnection]) -> _PooledConnection:
        seconds = self._host.timeout
        try:
            return free.get(timeout=seconds)
        except queue.Empty:
            # An interrupt just after `get` returned may have kept one from coming back.
            if free is self._free:
                self._free, self._era = _new_connections(), object()
            raise RedisConnectionError(
                f"All {MAX_CONNECTIONS} connections to {self._host} were in use for {seconds:g} s"
            ) from None

    def _ready(self, pooled: _PooledConnection, *, opens: bool) -> synchronous.AbstractConnection:
        """Return the open connection of a place in the pool, a new one if it was lost.

        Raises:
            _NotOpenError: There is none, and it must not be opened.
        """
        if pooled.connection is not None:
            if self._is_usable(pooled.connection, pooled.used_at):
                self._look(pooled)
                return pooled.connection
            pooled.close()
        if not opens:
            raise _NotOpenError
        try:
            # redis-py's own way from arguments to a connection; the pool itself is not used.
            connection: Any = synchronous.ConnectionPool(**self._arguments).make_connection()
            pooled.connection, pooled.looked_at = connection, monotonic()
            connection.connect()
            if self._connector.question == ("HELLO",):
                # Of a server without HELLO it is an error, and no harm.
                _send(connection, _HELLO)
                reply = _read(connection)
                self._connector.is_in_charge(reply)  # so that a later look finds a change
                if self._connector.host.sentinels:
                    require_master(introduction(reply), self._host)
        except RedisTimeoutError:
            raise self._connector.too_late() from None
        except RedisError:
            raise
        except Exception as error:
            # A credential provider, which may ask a service, raises what it likes; and redis-py
            # reads a file of its own package, which takes a free descriptor.
            raise RedisConnectionError(f"Connecting to {self._host} failed: {error!r}") from error
        self._counters.reconnects += pooled.was_open
        pooled.was_open = True
        return connection  # type: ignore[no-any-return]

    def _look(self, pooled: _PooledConnection) -> None:
        """Look at times whether a connection leads to the server in charge; see `Connector.look`.

        Raises:
            redis.exceptions.ReadOnlyError: It does not any more; another one is to be found.
        """
        if pooled.connection is not None and monotonic() - pooled.looked_at > LOOK_INTERVAL:
            pooled.looked_at = monotonic()
            _send(pooled.connection, pack(self._connector.question))
            if not self._connector.is_in_charge(_read(pooled.connection)):
                raise ReadOnlyError(f"{self._host} is no longer in charge")

    def _is_usable(self, connection: synchronous.AbstractConnection, used_at: float) -> bool:
        try:
            # No reply is due: it is the end, or a push.
            if connection.can_read(0):
                return False
            if monotonic() - used_at < IDLE_SECONDS:
                return True
            _send(connection, self._probe)
            if not connection.can_read(min(PROBE_SECONDS, self._host.timeout / 2)):
                return False
            _read(connection)
        except (RedisError, OSError):
            return False
        return True


def _execute(connection: synchronous.AbstractConnection, packed: bytes) -> Any:
    _send(connection, packed)
    try:
        return _read(connection)
    except (RedisError, OSError) as error:
        raise UnansweredError(error) from error


def _send(connection: synchronous.AbstractConnection, packed: bytes) -> None:
    connection.send_packed_command([packed], check_health=False)


def _read(connection: synchronous.AbstractConnection) -> Any:
    try:
        return connection.read_response()
    except (AuthenticationError, BusyLoadingError) as error:
        return error
    except ResponseError as error:
        return name_forbidden(error)
    except (TypeError, ValueError) as error:  # redis-py's, for what is no Redis
        raise InvalidResponse(f"a reply can't be read: {error}") from error


def synchronous_arguments(host: Host) -> dict[str, Any] | None:
    """Return the host's arguments for a synchronous connection; None if they only suit asyncio."""
    arguments = dict(host.arguments)
    default = redis_asyncio.ConnectionPool.from_url(host.url).connection_class
    twin = _TWINS.get(arguments.get("connection_class", default))
    if twin is None or any(name in arguments for name in _ASYNCHRONOUS):
        return None
    provider = arguments.get("credential_provider")
    if getattr(type(provider), "get_credentials", None) is CredentialProvider.get_credentials:
        return None  # it has the asynchronous method alone
    arguments["connection_class"] = twin
    known = {"connection_class", *keywords(twin)}
    if "socket_keepalive" in known:
        arguments.setdefault("socket_keepalive", True)
    if not known.issuperset(arguments):
        return None
    return {
        **arguments,
        "socket_timeout": host.timeout,
        "socket_connect_timeout": host.connect_timeout,
        "retry": Retry(NoBackoff(), 0),
    }


def _new_connections() -> queue.LifoQueue[_PooledConnection]:
    # The one used last comes first, so that a single thread needs no more.
    free: queue.LifoQueue[_PooledConnection] = queue.LifoQueue()
    for _ in range(MAX_CONNECTIONS):
        free.put(_PooledConnection())
    return free
