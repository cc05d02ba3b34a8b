"""The slot map of a Redis Cluster, and connections to its nodes."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ClusterDownError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from ..concurrency import first_result
from ..config.connection_arguments import HIGHEST_PORT
from .connector import Connector
from .errors import is_transient, sum_up
from .sentinel import SentinelConnector

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..config.hosts import Address, Host
    from .commands import Command, CommandClient
    from .connection import Connection


# Nodes asked for the slot map at once, besides the configured ones: a dead one then costs no time.
MAX_ASKED = 5
_SLOTS = ("CLUSTER", "SLOTS")


def slot_of(key: str | bytes) -> int:
    """Return the slot of a key; all keys of a slot are on one node."""
    slot: int = key_slot(key.encode() if isinstance(key, str) else key)
    return slot


class Cluster(Connector):
    """Open connections to the nodes of one Redis Cluster; event loops and threads share it."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        # Replaced, never mutated.
        self._owners: Sequence[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._connectors: dict[Address, Connector] = {}
        # The latest reply of the node that carries the commands, as it came.
        self._slots: Any = None
        # The node that `open` chose last.
        self._preferred: Address | None = None

    def slot(self, key: str) -> int:
        """Return the slot of a key."""
        return slot_of(key)

    def owner(self, slot: int) -> Address | None:
        """Return the owner of a slot, as last learnt."""
        return self._owners[slot]

    @property
    def layout(self) -> Sequence[Address | None]:
        """The owner of each slot, as last learnt: another object after a change."""
        return self._owners

    def owners(self) -> set[Address]:
        """Return all nodes that own slots, as last learnt."""
        return {owner for owner in self._owners if owner is not None}

    async def one_slot_each(self) -> list[int]:
        """Return a slot of each node that owns any now; as `learn`."""
        await self.learn()
        return [self._owners.index(owner) for owner in self.owners()]

    async def learn(self) -> None:
        """Fetch the slot map.

        Raises:
            redis.exceptions.ConnectionError: No node can be reached.
            redis.exceptions.ResponseError: The server is no Cluster, or forbids CLUSTER SLOTS.
        """
        # redis-py's client of a Cluster takes each refusal for "no Cluster", and asks one node,
        # which may be dead, for the table of all commands.
        known = self.owners() or set(self.host.nodes)
        asked = {*random.sample(list(known), min(MAX_ASKED, len(known))), *self.host.nodes}
        owners, errors = await first_result(map(self._ask, asked), (RedisError, OSError))
        if owners is None:
            raise sum_up(errors, RedisConnectionError, f"No node of the {self.host} can be asked")
        if owners != self._owners:
            former = self.owners()
            self._owners = owners
            for address in former - self.owners():
                self.node(address).demote()

    async def look(self, commands: CommandClient, key: str | None) -> None:
        """Fetch the slot map if the node that carries the commands reports a different one.

        A node that was removed from the Cluster keeps its connections, and neither passes messages
        on nor gets any.

        Raises:
            redis.exceptions.RedisError: As `CommandClient.execute`, or as `learn`.
        """
        slots = await commands.execute(_SLOTS, key=key, idempotent=True)
        if slots != self._slots:
            await self.learn()
            self._slots = slots

    async def open(self, setup: Iterable[Command] = ()) -> Connection:
        """Return a new, ready connection to any node; see `Connector.open`.

        It is the same node as long as that one works: nodes forward a published message after the
        reply, so through another node it might reach a later subscription.
        """
        setup = tuple(setup)
        await self.learn()
        left = self.owners()
        trouble: Exception | None = None
        while left:
            address = self._preferred
            if address is None or address not in left:
                # Before it has answered, so that calls at the same time choose the same node.
                [address] = random.sample(list(left), 1)
                self._preferred = address
            left.remove(address)
            try:
                return await self.node(address).open(setup)
            except (RedisError, OSError) as error:
                if not is_transient(error):
                    raise
                trouble = error
        raise RedisConnectionError(f"{self.host}: {trouble}") from trouble

    def node(self, address: Address) -> Connector:
        """Return the connector to one node."""
        connector = self._connectors.get(address)
        if connector is None:
            host = self.host.at(address)
            # Half the time, so that a dead node leaves some for its replacement.
            host = replace(host, connect_timeout=host.connect_timeout / 2)
            connector = Connector(host)
            self._connectors[address] = connector
        return connector

    async def open_to(self, key: str) -> Connection:
        """Return a new, ready connection to the current owner of a key."""
        # Never from the cache: the previous connection, if any, ended for some reason.
        await self.learn()
        owner = self.owner(slot_of(key))
        if owner is None:
            raise ClusterDownError(f"no node of the {self.host} owns slot {slot_of(key)}")
        return await self.node(owner).open()

    async def _ask(self, address: Address) -> Sequence[Address | None]:
        seconds = self.host.timeout
        connection = await self.node(address).open()
        try:
            [reply] = await connection.exchange([_SLOTS], seconds)
        finally:
            connection.close()
        if isinstance(reply, ResponseError) and "cluster support disabled" in str(reply):
            raise ResponseError(
                f"{self.host.at(address)} is no Redis Cluster: write it as a separate host, "
                f'{{"host": {address[0]!r}, "port": {address[1]}}}'
            )
        if isinstance(reply, Exception):
            raise reply
        if not reply:
            host = self.host.at(address)
            raise ClusterDownError(f"{host} is in no Cluster, or in one without slots")
        return read_slots(reply, address)


def read_slots(reply: Sequence[Any], asked: Address) -> Sequence[Address | None]:
    """Return the owner of each slot.

    Args:
        reply: The reply to CLUSTER SLOTS: ranges of first slot, last slot, owner, replicas.
        asked: The address of the node that replied, for owners without a host name: a node that
            does not know its own leaves it out.

    Raises:
        redis.exceptions.ConnectionError: It is no such reply.
    """
    owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    try:
        for first, last, (name, port, *_), *_replicas in reply:
            host = name.decode() if isinstance(name, bytes) else name
            if not 0 <= first <= last < REDIS_CLUSTER_HASH_SLOTS or not 0 < port <= HIGHEST_PORT:
                raise ValueError(f"slots {first} to {last} at port {port}")  # noqa: TRY301
            owner = (str(host) if host not in {None, "", "?"} else asked[0], int(port))
            owners[first : last + 1] = [owner] * (last + 1 - first)
    except (TypeError, ValueError) as error:
        raise RedisConnectionError(
            f"The reply of {asked[0]}:{asked[1]} to CLUSTER SLOTS can't be read: {error!r}"
        ) from error
    return owners


def connector_to(host: Host) -> Connector:
    """Return the connector to a host of any kind."""
    kind = Cluster if host.nodes else SentinelConnector if host.sentinels else Connector
    return kind(host)
