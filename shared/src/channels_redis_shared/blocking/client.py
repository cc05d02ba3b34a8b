"""Send commands of synchronous callers, and wait in place for their replies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from ..clock import monotonic
from ..transport.cluster import Cluster
from ..transport.commands import CommandClient, name_keys, pack
from ..transport.errors import is_transient, was_not_executed
from ..transport.reconnecting import Backoff
from .pool import SynchronousPool, UnansweredError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..config.hosts import Address
    from ..ops.statistics import Counters
    from ..transport.commands import PendingCommand, Script
    from ..transport.connector import Connector


class BlockingCommandClient(CommandClient):
    """The synchronous connections of a process to one host; threads share it.

    Args:
        connector: Finds the master, or the nodes of a Cluster.
        scripts: Loaded where a server lacks one.
        counters: Count commands and round trips.
        by_key: As for `shards_to`.
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
        self._cluster = connector if by_key and isinstance(connector, Cluster) else None
        self._scripts = scripts
        self._counters = counters
        self._pools: dict[Connector, SynchronousPool] = {}
        # The node of a Cluster for what any node may execute.
        self._address: Address | None = None
        # The slot map whose owners the pools are for; None without one.
        self._layout: object = None

    async def call(self, command: PendingCommand) -> Any:
        """Send the command and wait in place for its reply."""
        coalescer = command.coalescer
        if coalescer is None:
            return await self._execute(command.content, command)
        packed = pack(coalescer.command([command.content]))
        reply = await self._execute(packed, command)
        [reply] = coalescer.replies(reply, [command.content])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def nodes(self) -> Sequence[CommandClient]:
        """Return a client for each server that has keys."""
        if self._cluster is None:
            return [self]
        await self._cluster.learn()
        return [
            BlockingCommandClient(self._cluster.node(owner), self._scripts, self._counters)
            for owner in self._cluster.owners()
        ]

    async def close(self) -> None:
        """Close the connections; those in use, when they are free again."""
        self._close_all_but(())

    async def _execute(self, packed: bytes, command: PendingCommand) -> Any:
        """Return the reply to a command; retry one that certainly was not executed."""
        deadline = monotonic() + self._connector.host.timeout
        backoff, again = Backoff(), False
        while True:
            error: Exception
            try:
                pool = await self._find_pool(command.key, refresh=again)
                reply = await pool.exchange(packed)
            except UnansweredError as unanswered:
                error, again = unanswered.error, command.idempotent
            except (RedisError, OSError) as not_sent:
                error, again = not_sent, is_transient(not_sent)
            else:
                if not isinstance(reply, Exception):
                    return reply
                error = name_keys(reply, packed)
                again = was_not_executed(reply)
            left = deadline - monotonic()
            if not again or left <= 0:
                try:
                    raise error
                finally:
                    del error  # its traceback has this frame
            await asyncio.sleep(min(backoff.next(), left))

    async def _find_pool(self, key: str, *, refresh: bool) -> SynchronousPool:
        """Return the pool of the server for a key; look the server up again to `refresh` it."""
        connector = self._connector
        if isinstance(connector, Cluster):
            connector = await self._find_node(connector, key, refresh=refresh)
        pool = self._pools.get(connector)
        if pool is None:
            pool = SynchronousPool(connector, self._scripts, self._counters)
            pool = self._pools.setdefault(connector, pool)
        return pool

    async def _find_node(self, cluster: Cluster, key: str, *, refresh: bool) -> Connector:
        if self._cluster is not None:
            self._address = await cluster.find_owner(cluster.slot(key), refresh=refresh)
        elif self._address is None or refresh:
            self._address = await cluster.working_node()
        node = cluster.node(self._address)
        # Other parts of the process, which share the map, may have learnt of a change.
        if refresh or cluster.layout is not self._layout:
            self._layout = cluster.layout
            self._close_all_but(map(cluster.node, cluster.owners()) if self._cluster else [node])
        return node

    def _close_all_but(self, in_charge: Iterable[Connector]) -> None:
        for connector in set(self._pools).difference(in_charge):
            pool = self._pools.pop(connector, None)
            if pool is not None:
                pool.close()
