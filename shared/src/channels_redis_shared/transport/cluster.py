"""Knows which node of a Redis Cluster owns which keys, and opens connections to the right one."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ClusterDownError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from .connector import ANY_VERSION, Connector
from .errors import is_transient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
    from typing import TypeVar

    from ..config.hosts import Host
    from .commands import Command
    from .connection import Connection
    from .connector import MinimumVersion

    Found = TypeVar("Found")

Address: TypeAlias = tuple[str, int]

# How many nodes are asked at once who owns what: one that is dead then costs no time.
MOST_ASKED = 5


def slot_of(key: str) -> int:
    """Return the slot of a key: what is in one slot is on one node."""
    slot: int = key_slot(key.encode())
    return slot


class Cluster(Connector):
    """Opens connections to the nodes of one Redis Cluster. Event loops and threads may share it."""

    def __init__(self, host: Host, minimum_version: MinimumVersion = ANY_VERSION) -> None:
        super().__init__(host, minimum_version)
        # As learnt last; replaced, never changed.
        self._owners: Sequence[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._connectors: dict[Address, Connector] = {}
        # The node that `open` chose last.
        self._favourite: Address | None = None

    def owner(self, slot: int) -> Address | None:
        """Return the node that owned a slot when that was learnt last."""
        return self._owners[slot]

    @property
    def layout(self) -> object:
        """Stands for all that was learnt last: another object if it has changed."""
        return self._owners

    def owners(self) -> set[Address]:
        """Return all nodes that owned any slot then."""
        return {owner for owner in self._owners if owner is not None}

    async def learn(self) -> None:
        """Ask who owns what now.

        Raises:
            redis.exceptions.ConnectionError: No node can be reached.
            redis.exceptions.ResponseError: The server is no Redis Cluster, or forbids to ask.
        """
        # Not by redis-py's client of a Cluster: it takes each refusal for "no Cluster", and asks
        # for the table of all commands as well, of a node that may be the one that is away.
        known = self.owners() or set(self.host.nodes)
        asked = {*random.sample(list(known), min(MOST_ASKED, len(known))), *self.host.nodes}
        owners = await self._first(asked, self._ask)
        if owners != self._owners:
            self._owners = owners

    async def open(self, setup: Iterable[Command] = ()) -> Connection:
        """Return a new, ready connection to any node; see `Connector.open`.

        It is the same node as long as that one works: what this process publishes there reaches
        no subscription that it makes later. News between nodes travels after the reply.
        """
        await self.learn()
        setup = tuple(setup)
        trouble: Exception | None = None
        owners = random.sample(list(self.owners()), len(self.owners()))
        for address in sorted(owners, key=lambda owner: owner != self._favourite):
            try:
                link = await self.node(address).open(setup)
            except (RedisError, OSError) as error:
                if not is_transient(error):
                    raise
                trouble = error
            else:
                self._favourite = address
                return link
        raise RedisConnectionError(f"{self.host}: {trouble}") from trouble

    async def working_node(self) -> Address:
        """Return the node that `open` connects to."""
        link = await self.open()
        await link.close()
        if self._favourite is None:
            raise RedisConnectionError(f"{self.host} has no node")
        return self._favourite

    def node(self, address: Address) -> Connector:
        """Return what opens connections to one node."""
        connector = self._connectors.get(address)
        if connector is None:
            host = self.host.at(address)
            # Half the time, so that a node that is away leaves some for what takes its place.
            host = replace(host, connect_timeout=host.connect_timeout / 2)
            connector = Connector(host, self._minimum_version)
            self._connectors[address] = connector
        return connector

    def to_key(self, key: str) -> Connector:
        """Return what opens connections to the node that owns a key at that moment."""
        return _ToSlot(self, slot_of(key))

    async def _ask(self, address: Address) -> Sequence[Address | None]:
        seconds = self.host.timeout
        link = await self.node(address).open()
        try:
            [reply] = await link.exchange([("CLUSTER", "SLOTS")], seconds)
        finally:
            await link.close()
        if isinstance(reply, ResponseError) and "cluster support disabled" in str(reply):
            raise ResponseError(
                f"{self.host.at(address)} is no Redis Cluster: write it as a host of its own, "
                f'{{"host": {address[0]!r}, "port": {address[1]}}}'
            )
        if isinstance(reply, Exception):
            raise reply
        return read_slots(reply, address)

    async def _first(
        self, addresses: Collection[Address], ask: Callable[[Address], Awaitable[Found]]
    ) -> Found:
        """Ask several nodes at once; return the first answer."""
        asked = [asyncio.ensure_future(ask(address)) for address in addresses]
        errors: list[Exception] = []
        try:
            for answer in asyncio.as_completed(asked):
                try:
                    return await answer
                except (RedisError, OSError) as error:
                    errors.append(error)
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        lasting = [error for error in errors if not is_transient(error)]
        if lasting:
            raise lasting[0]
        reasons = "; ".join(dict.fromkeys(map(str, errors)))
        raise RedisConnectionError(f"No node of the {self.host} can be asked: {reasons}")


class _ToSlot(Connector):
    """Opens connections to the node that owns a slot at that moment."""

    def __init__(self, cluster: Cluster, slot: int) -> None:
        super().__init__(cluster.host)
        self._cluster = cluster
        self._slot = slot

    async def open(self, setup: Iterable[Command] = ()) -> Connection:
        """Return a new, ready connection; see `Connector.open`."""
        # Always asked anew: if there was a connection before, it ended for some reason.
        await self._cluster.learn()
        owner = self._cluster.owner(self._slot)
        if owner is None:
            raise ClusterDownError(f"no node of the {self.host} owns slot {self._slot}")
        return await self._cluster.node(owner).open(setup)


def read_slots(reply: Sequence[Any], asked: Address) -> Sequence[Address | None]:
    """Return the owner of each slot.

    Args:
        reply: What CLUSTER SLOTS replied: first and last slot, the owner, its replicas, each.
        asked: Where it was asked. A node that does not know what it is called itself says nothing
            instead of its name.
    """
    owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    for first, last, (name, port, *_), *_replicas in reply:
        host = name.decode() if isinstance(name, bytes) else name
        owner = (host if host not in {None, "", "?"} else asked[0], port)
        owners[first : last + 1] = [owner] * (last + 1 - first)
    return owners


def connector_to(host: Host, minimum_version: MinimumVersion = ANY_VERSION) -> Connector:
    """Return what opens connections to a host of any kind, whose servers are new enough."""
    return Cluster(host, minimum_version) if host.nodes else Connector(host, minimum_version)
