"""The command connections of one event loop, one for each host."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from zlib import crc32

from .cluster import Cluster
from .cluster_pipeline import ClusterPipeline
from .pipeline import AutoPipeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..ops.statistics import Counters
    from .commands import Script
    from .connector import Connector
    from .pipeline import CommandClient


class Shards:
    """The command connections of one event loop, in the order of the hosts."""

    def __init__(self, clients: Sequence[CommandClient]) -> None:
        self._clients = clients

    @classmethod
    def to(
        cls,
        connectors: Sequence[Connector],
        scripts: Sequence[Script] = (),
        counters: Counters | None = None,
        *,
        by_key: bool = True,
    ) -> Shards:
        """Return the command connections of the running loop to these hosts.

        Args:
            connectors: One for each host.
            scripts: Loaded whenever a connection opens.
            counters: Count commands and round trips.
            by_key: Choose the node of a Cluster by each command's key, instead of using any one.
        """
        return cls(
            [
                ClusterPipeline(connector, scripts, counters)
                if by_key and isinstance(connector, Cluster)
                else AutoPipeline(connector, scripts, counters)
                for connector in connectors
            ]
        )

    def __getitem__(self, index: int) -> CommandClient:
        """Return the connections to the shard with this index."""
        return self._clients[index]

    def __len__(self) -> int:
        """Return the number of shards."""
        return len(self._clients)

    @property
    def are_one_place(self) -> bool:
        """True if one script may use any keys together: one server, and no Cluster."""
        return len(self._clients) == 1 and self._clients[0].slot("") is None

    def of(self, name: str) -> CommandClient:
        """Return the connections to the shard of a name."""
        if len(self._clients) == 1:
            return self._clients[0]
        return self._clients[shard_of(name, len(self._clients))]

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(client.close() for client in self._clients))

    def abandon(self) -> None:
        """Discard all connections without closing them; their event loop is already closed."""
        for client in self._clients:
            client.abandon()


def shard_of(name: str, shards: int) -> int:
    """Return the index, from 0, of the shard of a name.

    `channels_redis` on the same servers must choose the same one, so the ring of 4096 points and
    the division of floats are fixed.
    """
    if shards == 1:
        return 0
    return int((crc32(name.encode()) & 0xFFF) / (4096 / shards))
