"""Commands of synchronous callers, sent in place on redis-py's synchronous connections.

Each `async_to_sync` call outside of a running loop has an event loop of its own, and so has each
`asyncio.run`. A connection in such a loop would be opened for one command. So where a loop has
nothing else to do, the caller waits on a connection that belongs to the process.
"""

from __future__ import annotations

import asyncio
import queue
import time
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
    ClusterDownError,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from ..config.connection_arguments import keywords
from ..transport.cluster import Cluster, slot_of
from ..transport.commands import name_forbidden, name_keys, pack
from ..transport.errors import is_redirect, is_transient, was_not_executed
from ..transport.pipeline import CommandClient
from ..transport.reconnecting import Backoff
from ..transport.sentinel import find_master
from ..transport.shards import Shards

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ..config.hosts import Host
    from ..ops.statistics import Counters
    from ..transport.batch import Coalescer
    from ..transport.cluster import Address
    from ..transport.commands import Script
    from ..transport.connector import Connector

# Connections to one server, however many threads call.
MAX_CONNECTIONS = 4
# Calls that a loop makes before it counts as one that lasts, and gets connections of its own.
SHORT_LIVED_CALLS = 10
# Seconds without use after which a connection is probed: a middlebox may have forgotten it.
IDLE_SECONDS = 1.0
# Longest wait, in seconds, for the answer to a probe.
PROBE_SECONDS = 1.0

_TWINS: dict[type, Any] = {
    redis_asyncio.Connection: synchronous.Connection,
    redis_asyncio.SSLConnection: synchronous.SSLConnection,
    redis_asyncio.UnixDomainSocketConnection: synchronous.UnixDomainSocketConnection,
}
# Arguments whose value only suits an asynchronous connection.
_ASYNCHRONOUS = ("parser_class", "redis_connect_func")


class SynchronousCallers:
    """Decides which event loops wait in place for their commands.

    Args:
        connectors: One for each host.
        scripts: Loaded where a server lacks one.
        counters: Count commands and round trips.
        by_key: As for `Shards.to`.
    """

    def __init__(
        self,
        connectors: Sequence[Connector],
        scripts: Sequence[Script],
        counters: Counters,
        *,
        by_key: bool = True,
    ) -> None:
        self._shards: Shards | None = None
        if all(_arguments(connector.host) is not None for connector in connectors):
            self._shards = Shards(
                [BlockingCommandClient(one, scripts, counters, by_key=by_key) for one in connectors]
            )
        self._calls: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, int] = (
            weakref.WeakKeyDictionary()
        )

    def shards(self) -> Shards | None:
        """Return the process's commands if the running loop may block, else None."""
        if self._shards is None:
            return None
        loop = asyncio.get_running_loop()
        calls = self._calls.get(loop, 0)
        if calls >= _most_calls(loop) or not _has_nothing_else_to_do(loop):
            return None
        self._calls[loop] = calls + 1
        return self._shards

    async def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        if self._shards is not None:
            await self._shards.close()


class BlockingCommandClient(CommandClient):
    """The commands of synchronous callers, to one host; threads share it.

    Args:
        connector: Knows the host; finds its master, or the nodes of a Cluster.
        scripts: Loaded where a server lacks one.
        counters: Count commands and round trips.
        by_key: As for `Shards.to`.
    """

    def __init__(
        self,
        connector: Connector,
        scripts: Sequence[Script],
        counters: Counters,
        *,
        by_key: bool = True,
    ) -> None:
        self._connector = connector
        self._cluster = connector if isinstance(connector, Cluster) else None
        self._by_key = by_key and self._cluster is not None
        self._scripts = scripts
        self._counters = counters
        self._servers: dict[Address | None, _ServerConnections] = {}
        # Where the master is, or which node gets what any node may get; None before it is found.
        self._address: Address | None = None
        self._is_troubled = False
        # At the interpreter's exit too: an open socket would be complained of.
        weakref.finalize(self, _close_for_good, self._servers)

    async def call(  # noqa: PLR0913, PLR0917
        self,
        content: Any,
        coalescer: Coalescer | None,
        size: int,  # noqa: ARG002 - nothing else shares the write
        idempotent: bool,  # noqa: FBT001
        quotas: Mapping[str, int],  # noqa: ARG002
        key: str,
    ) -> Any:
        """Send the command and wait in place for its reply."""
        packed = content if coalescer is None else pack(coalescer.command([content]))
        reply = await self._carry_out(packed, key, idempotent=idempotent)
        if coalescer is not None:
            [reply] = coalescer.replies(reply, [content])
            if isinstance(reply, Exception):
                raise reply
        return reply

    def slot(self, key: str) -> int | None:
        """Return the slot of a key in a Cluster."""
        return slot_of(key) if self._by_key else None

    def node(self, key: str) -> object:
        """Return what stands for the node of a Cluster that has a key, as far as known."""
        return self._cluster.owner(slot_of(key)) if self._by_key and self._cluster else None

    async def nodes(self) -> Sequence[CommandClient]:
        """Return the commands to each server that has keys."""
        if self._cluster is None:
            return [self]
        await self._cluster.learn()
        return [
            BlockingCommandClient(self._cluster.node(owner), self._scripts, self._counters)
            for owner in self._cluster.owners()
        ]

    async def close(self) -> None:
        """Close the connections; those in use, when they are free again."""
        self.abandon()

    def abandon(self) -> None:
        """Close the connections; those in use, when they are free again."""
        self._close_all_but(set())

    async def _carry_out(self, packed: bytes, key: str, *, idempotent: bool) -> Any:
        """Return the reply to a command; try again what certainly was not carried out."""
        deadline = time.monotonic() + self._connector.host.timeout
        backoff = Backoff()
        while True:
            error: Exception
            try:
                server = await self._server(key)
                reply = await server.exchange(packed)
            except _UnansweredError as unanswered:
                error, again = unanswered.error, idempotent
            except (RedisError, OSError) as not_sent:
                error, again = not_sent, is_transient(not_sent)
            else:
                if not isinstance(reply, Exception):
                    return reply
                error = name_keys(reply, packed)
                again = was_not_executed(reply) or isinstance(reply, BusyLoadingError)
            self._is_troubled |= is_transient(error)
            left = deadline - time.monotonic()
            if not again or left <= 0:
                try:
                    raise error
                finally:
                    del error  # its traceback has this frame
            await asyncio.sleep(min(backoff.next(), left))

    async def _server(self, key: str) -> _ServerConnections:
        """Return the server for a key; after trouble, ask again which one that is."""
        connector, address = self._connector, self._address
        is_troubled, self._is_troubled = self._is_troubled, False
        try:
            if self._cluster is not None:
                if self._by_key:
                    address = await self._owner(self._cluster, slot_of(key), ask=is_troubled)
                elif address is None or is_troubled:
                    self._address = address = await self._cluster.working_node()
                connector = self._cluster.node(address)
            elif connector.host.sentinels and (address is None or is_troubled):
                self._address = address = await find_master(connector.host)
        except BaseException:
            self._is_troubled = True
            raise
        if is_troubled:
            # To servers that are not in charge any more.
            self._close_all_but(
                self._cluster.owners() if self._by_key and self._cluster else {address}
            )
        server = self._servers.get(address)
        if server is None:
            server = _ServerConnections(connector, address, self._scripts, self._counters)
            server = self._servers.setdefault(address, server)
        return server

    def _close_all_but(self, in_charge: Collection[Address | None]) -> None:
        for old in [address for address in list(self._servers) if address not in in_charge]:
            server = self._servers.pop(old, None)
            if server is not None:
                server.close()

    async def _owner(self, cluster: Cluster, slot: int, *, ask: bool) -> Address:
        owner = cluster.owner(slot)
        if owner is None or ask:
            await cluster.learn()
            owner = cluster.owner(slot)
        if owner is None:
            raise ClusterDownError(f"no node of the {cluster.host} owns slot {slot}")
        return owner


class _UnansweredError(Exception):
    """Raised when a command was written and no reply came: it may have been carried out."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@dataclass
class _Slot:
    """The place of one connection in a pool."""

    connection: synchronous.AbstractConnection | None = None
    used_at: float = 0.0
    was_open: bool = False

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.disconnect()


class _ServerConnections:
    """A bounded pool of connections to one server."""

    def __init__(
        self,
        connector: Connector,
        address: Address | None,
        scripts: Sequence[Script],
        counters: Counters,
    ) -> None:
        self._connector = connector
        self._host = connector.host if address is None else connector.host.at(address)
        self._scripts = scripts
        self._counters = counters
        # Each layer's users have the right to one of these: docs/servers.md has the rules.
        self._probe = pack(("TIME",) if scripts else ("PING",))
        self._keeps_connections = True
        # Stands for the time since they were last closed: what was taken before is closed later.
        self._era = object()
        self._free = _new_pool()

    async def exchange(self, packed: bytes) -> Any:
        """Send a packed command and return its reply; an error replied is returned, not raised.

        Raises:
            _UnansweredError: The reply did not come.
            redis.exceptions.RedisError: The command was not written as a whole.
        """
        try:
            reply = self._exchange(packed)
        except RedisConnectionError as error:
            if self._host.url != "rediss://":
                raise
            lost = error
        else:
            if not isinstance(reply, ResponseError) or self._connector.version_is_known:
                return reply
            return await self._explained(reply)
        # Outside of the handler, which would become the error's context.
        raise await self._explained(lost)

    async def _explained(self, error: RedisError) -> Exception:
        """Return why the server serves no one here, if it is that, or else the error."""
        try:
            link = await self._connector.open()
        except (RedisError, OSError) as reason:
            return error if is_transient(reason) else reason
        await link.close()
        return error

    def _exchange(self, packed: bytes) -> Any:
        free, era = self._free, self._era
        slot = self._take(free)
        try:
            connection = self._ready(slot)
            self._counters.commands += 1
            self._counters.round_trips += 1
            reply = _carried_out(connection, packed)
            if isinstance(reply, NoScriptError):
                refusal = self._load_scripts(connection)
                reply = _carried_out(connection, packed) if refusal is None else refusal
            if isinstance(reply, RedisConnectionError) or (
                isinstance(reply, Exception) and is_transient(reply) and not is_redirect(reply)
            ):
                # redis-py closed it, or a new one may lead to another server that can serve.
                slot.close()
            slot.used_at = time.monotonic()
        except BaseException:
            # A late reply would be taken for another's.
            slot.close()
            raise
        finally:
            if era is not self._era or not self._keeps_connections:
                slot.close()
                slot = _Slot()
            free.put(slot)
        return reply

    def _load_scripts(self, connection: synchronous.AbstractConnection) -> Exception | None:
        """Make the server know the scripts; return why it refuses."""
        for script in self._scripts:
            reply = _ask(connection, pack(script.load))
            if isinstance(reply, Exception):
                return reply
        return None

    def close_for_good(self) -> None:
        """Close the connections, and from now on each one after its call."""
        self._keeps_connections = False
        # Without the lock: in a fork's child, a thread of the parent may have held it.
        for slot in list(self._free.queue):
            slot.close()

    def close(self) -> None:
        """Close the connections; those in use, when they are free again."""
        self._era = object()
        idle: list[_Slot] = []
        with suppress(queue.Empty):
            while True:
                idle.append(self._free.get_nowait())
        for slot in idle:
            slot.close()
            # Threads may wait for it.
            self._free.put(_Slot())

    def _take(self, free: queue.LifoQueue[_Slot]) -> _Slot:
        seconds = self._host.timeout
        try:
            return free.get(timeout=seconds)
        except queue.Empty:
            # An interrupt just after `get` returned may have kept one from coming back.
            if free is self._free:
                self._free, self._era = _new_pool(), object()
            raise RedisConnectionError(
                f"All {MAX_CONNECTIONS} connections to {self._host} were in use for {seconds:g} s"
            ) from None

    def _ready(self, slot: _Slot) -> synchronous.AbstractConnection:
        """Return the open connection of a slot, a new one if it was lost."""
        connection = slot.connection
        if connection is not None:
            if self._is_usable(connection, slot.used_at):
                return connection
            slot.close()
        try:
            slot.connection = connection = _connection(self._host)
            connection.connect()
        except RedisTimeoutError:
            raise self._connector.too_late() from None
        except OSError as error:
            # redis-py reads a file of its own package, which takes a free descriptor.
            raise RedisConnectionError(f"No connection to {self._host}: {error}") from error
        self._counters.reconnects += slot.was_open
        slot.was_open = True
        return connection

    def _is_usable(self, connection: synchronous.AbstractConnection, used_at: float) -> bool:
        try:
            # Nothing is due: what is there is the end, or was sent unasked.
            if connection.can_read(0):
                return False
            if time.monotonic() - used_at < IDLE_SECONDS:
                return True
            connection.send_packed_command([self._probe], check_health=False)
            if not connection.can_read(min(PROBE_SECONDS, self._host.timeout / 2)):
                return False
            _reply(connection)
        except (RedisError, OSError):
            return False
        return True


def _carried_out(connection: synchronous.AbstractConnection, packed: bytes) -> Any:
    """Send what may have been carried out if no reply comes."""
    connection.send_packed_command([packed], check_health=False)
    try:
        return _reply(connection)
    except (RedisError, OSError) as error:
        raise _UnansweredError(error) from error


def _ask(connection: synchronous.AbstractConnection, packed: bytes) -> Any:
    connection.send_packed_command([packed], check_health=False)
    return _reply(connection)


def _reply(connection: synchronous.AbstractConnection) -> Any:
    try:
        return connection.read_response()
    except (AuthenticationError, BusyLoadingError) as answer:
        return answer
    except ResponseError as answer:
        return name_forbidden(answer)


def _arguments(host: Host) -> dict[str, Any] | None:
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


def _connection(host: Host) -> synchronous.AbstractConnection:
    # redis-py's own way from arguments to a connection; the pool itself is not used.
    pool = synchronous.ConnectionPool(**(_arguments(host) or {}))
    connection: Any = pool.make_connection()
    return connection  # type: ignore[no-any-return]


def _new_pool() -> queue.LifoQueue[_Slot]:
    # The one used last comes first, so that a single thread needs no more.
    free: queue.LifoQueue[_Slot] = queue.LifoQueue()
    for _ in range(MAX_CONNECTIONS):
        free.put(_Slot())
    return free


def _close_for_good(servers: Mapping[Any, _ServerConnections]) -> None:
    for server in list(servers.values()):
        server.close_for_good()


def _most_calls(loop: asyncio.AbstractEventLoop) -> int:
    """Return how many calls a loop may block for."""
    # Whether a loop of uvloop has timers or sockets can't be seen.
    return SHORT_LIVED_CALLS if hasattr(loop, "_scheduled") else 1


def _has_nothing_else_to_do(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether the running loop only runs for the one who calls now.

    That is a loop in `run_until_complete`, whose task is the running one, or waits for a thread
    that calls `async_to_sync`. A server has other tasks, timers, or sockets.
    """
    task = asyncio.current_task(loop)
    if task is None or not _is_synchronous_call(task):
        return False
    if getattr(loop, "_ready", None) or any(
        not timer.cancelled() for timer in getattr(loop, "_scheduled", ())
    ):
        return False
    sockets: Mapping[Any, Any] = getattr(getattr(loop, "_selector", None), "get_map", dict)()
    # One wakes the loop.
    return len(sockets) <= 1 and all(map(_is_synchronous_call, asyncio.all_tasks(loop)))


def _is_synchronous_call(task: asyncio.Task[Any]) -> bool:
    """Return whether a thread without an event loop of its own waits for the task."""
    if getattr(task.get_coro(), "__qualname__", "") == "AsyncToSync.main_wrap":
        return True
    callbacks = getattr(task, "_callbacks", None) or ()
    return any(
        "run_until_complete" in getattr(callback, "__qualname__", "") for callback, _ in callbacks
    )
