"""Send commands of synchronous callers, and wait in place for their replies."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from ..clock import monotonic
from ..transport.cluster import Cluster, slot_of
from ..transport.commands import CommandClient, name_keys, pack
from ..transport.errors import is_transient, was_not_executed
from ..transport.reconnecting import Backoff
from ..transport.sentinel import find_master
from .pool import SynchronousPool, UnansweredError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

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
        self._cluster = connector if isinstance(connector, Cluster) else None
        self._by_key = by_key and self._cluster is not None
        self._scripts = scripts
        self._counters = counters
        self._pools: dict[Address | None, SynchronousPool] = {}
        # The master, or the node of a Cluster for what any node may execute.
        self._address: Address | None = None
        # The slot map whose owners the pools are for; None without one.
        self._layout: object = None
        self._has_failed = False
        # At the interpreter's exit too, which would warn of open sockets.
        weakref.finalize(self, _close_for_good, self._pools)

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

    def slot(self, key: str) -> int | None:
        """Return the slot of a key in a Cluster."""
        return slot_of(key) if self._by_key else None

    def node(self, key: str) -> object:
        """Return an identity of the Cluster node that has a key, as last learnt."""
        return self._cluster.owner(slot_of(key)) if self._by_key and self._cluster else None

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
        backoff = Backoff()
        while True:
            error: Exception
            try:
                pool = await self._find_pool(command.key)
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
            self._has_failed |= is_transient(error)
            left = deadline - monotonic()
            if not again or left <= 0:
                try:
                    raise error
                finally:
                    del error  # its traceback has this frame
            await asyncio.sleep(min(backoff.next(), left))

    async def _find_pool(self, key: str) -> SynchronousPool:
        """Return the pool of the server for a key; after a failure, look the server up again."""
        has_failed, self._has_failed = self._has_failed, False
        try:
            address = await self._find_address(key, refresh=has_failed)
        except BaseException:
            self._has_failed = True
            raise
        cluster = self._cluster if self._by_key else None
        layout = cluster.layout if cluster else None
        # Other parts of the process, which share the map, may have learnt of a change.
        if has_failed or layout is not self._layout:
            self._layout = layout
            self._close_all_but(cluster.owners() if cluster else {address})
        pool = self._pools.get(address)
        if pool is None:
            connector = self._connector
            if self._cluster is not None and address is not None:
                connector = self._cluster.node(address)
            pool = SynchronousPool(connector, address, self._scripts, self._counters)
            pool = self._pools.setdefault(address, pool)
        return pool

    async def _find_address(self, key: str, *, refresh: bool) -> Address | None:
        if self._cluster is not None and self._by_key:
            return await self._cluster.find_owner(slot_of(key), refresh=refresh)
        if self._address is None or refresh:
            if self._cluster is not None:
                self._address = await self._cluster.working_node()
            elif self._connector.host.sentinels:
                self._address = await find_master(self._connector.host)
        return self._address

    def _close_all_but(self, in_charge: Collection[Address | None]) -> None:
        for address in [address for address in list(self._pools) if address not in in_charge]:
            pool = self._pools.pop(address, None)
            if pool is not None:
                pool.close()


def _close_for_good(pools: Mapping[Any, SynchronousPool]) -> None:
    for pool in list(pools.values()):
        pool.close_for_good()
