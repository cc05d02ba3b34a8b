"""A bounded pool of redis-py's synchronous connections to one server; threads share it."""

from __future__ import annotations

import queue
import weakref
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
from ..transport.connector import LOOK_INTERVAL
from ..transport.errors import is_redirect, is_transient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config.hosts import Host
    from ..ops.statistics import Counters
    from ..transport.commands import Command, Script
    from ..transport.connector import Connector

# Connections to one server, however many threads call.
MAX_CONNECTIONS = 4
# Seconds without use after which a connection is probed: a middlebox may have forgotten it.
IDLE_SECONDS = 1.0
# Longest wait, in seconds, for the answer to a probe.
PROBE_SECONDS = 1.0

_HELLO: Command = ("HELLO",)

# Arguments whose value only suits an asynchronous connection.
_ASYNCHRONOUS = {"parser_class", "redis_connect_func"}


class UnansweredError(Exception):
    """Raised when a command was written and no reply came: it may have been executed."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


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

    def __init__(self, connector: Connector, scripts: Sequence[Script], counters: Counters) -> None:
        self._connector = connector
        self._host = connector.host
        self._arguments = synchronous_arguments(self._host) or {}
        self._scripts = scripts
        self._counters = counters
        # Replaced by each close, so that connections in use then are closed after their call.
        self._era = object()
        self._free = _new_connections()
        # At the interpreter's exit too, which would warn of open sockets.
        weakref.finalize(self, _close_idle, self._free)

    async def exchange(self, packed: bytes) -> Any:
        """Send a packed command and return its reply; an error replied is returned, not raised.

        Raises:
            UnansweredError: The reply did not come.
            redis.exceptions.RedisError: The command was not written as a whole.
        """
        free, era = self._free, self._era
        pooled = self._take(free)
        try:
            connection = await self._ready(pooled)
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
            if era is not self._era:
                pooled.close()
                pooled = _PooledConnection()
            free.put(pooled)
        return explain(reply, self._host) if isinstance(reply, Exception) else reply

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

    def _load_scripts(self, connection: synchronous.AbstractConnection) -> Exception | None:
        """Load the scripts; return the error if the server refuses."""
        replies = (_ask(connection, script.load) for script in self._scripts)
        return next((reply for reply in replies if isinstance(reply, Exception)), None)

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

    async def _ready(self, pooled: _PooledConnection) -> synchronous.AbstractConnection:
        """Return the open connection of a place in the pool, a new one if it was lost."""
        if pooled.connection is not None and self._is_usable(pooled, pooled.connection):
            return pooled.connection
        pooled.close()
        host, connector = self._host, self._connector
        arguments = {**self._arguments, **await connector.locate()}
        connection: Any = None
        failure: Exception | None = None
        try:
            # redis-py's own way from arguments to a connection; the pool itself is not used.
            connection = synchronous.ConnectionPool(**arguments).make_connection()
            pooled.connection, pooled.looked_at = connection, monotonic()
            connection.connect()
            for question in {_HELLO, connector.question}:
                connector.check(_ask(connection, question))
        except RedisTimeoutError:
            # A TLS handshake has the time of a reply.
            raise connector.too_late(monotonic() - pooled.looked_at) from None
        except Exception as error:  # noqa: BLE001 - redis-py's, or a credential provider's
            failure = error
        if failure is not None or not connector.version_is_known:
            # An asynchronous connection finds the reason. Not in the handler, whose error would
            # become its context.
            with suppress(OSError):
                (await connector.open()).close()
        if failure is not None:
            raise RedisConnectionError(f"Connecting to {host} failed: {failure!r}") from failure
        self._counters.reconnects += pooled.was_open
        pooled.was_open = True
        return connection  # type: ignore[no-any-return]

    def _is_usable(
        self, pooled: _PooledConnection, connection: synchronous.AbstractConnection
    ) -> bool:
        """Return whether a connection is there and leads to the server in charge, as last seen."""
        try:
            # No reply is due: it is the end, or a push.
            if connection.can_read(0):
                return False
            now = monotonic()
            if now - pooled.used_at < IDLE_SECONDS and now - pooled.looked_at < LOOK_INTERVAL:
                return True
            pooled.looked_at = now
            _send(connection, pack(self._connector.question))
            if not connection.can_read(min(PROBE_SECONDS, self._host.timeout / 2)):
                return False
            return self._connector.is_in_charge(_read(connection))
        except (RedisError, OSError):
            return False


def _close_idle(free: queue.LifoQueue[_PooledConnection]) -> None:
    # Without the lock: in a fork's child, a thread of the parent may have held it.
    for pooled in list(free.queue):
        pooled.close()


def _ask(connection: synchronous.AbstractConnection, command: Command) -> Any:
    _send(connection, pack(command))
    return _read(connection)


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
    cls = arguments.get("connection_class", default)
    # redis-py's classes of both kinds have the same names.
    twin: Any = getattr(synchronous, cls.__name__, None)
    if cls.__module__ != default.__module__ or not _ASYNCHRONOUS.isdisjoint(arguments):
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
