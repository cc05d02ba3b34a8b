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

    def __init__(self, batchers: Sequence[CommandClient]) -> None:
        self._batchers = batchers

    @classmethod
    def to(
        cls,
        connectors: Sequence[Connector],
        scripts: Sequence[Script] = (),
        counters: Counters | None = None,
        *,
        by_key: bool = True,
    ) -> Shards:
        """Return the command connections to these hosts, of the running loop.

        Args:
            connectors: One for each host.
            scripts: What every connection loads.
            counters: Count commands and round trips.
            by_key: Whether a Cluster's node is chosen by each command's key; otherwise any one
                does.
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
        return self._batchers[index]

    def __len__(self) -> int:
        """Return the number of shards."""
        return len(self._batchers)

    @property
    def are_one_place(self) -> bool:
        """Whether one script may use any keys together: there is one server, and no Cluster."""
        return len(self._batchers) == 1 and self._batchers[0].slot("") is None

    def of(self, name: str) -> CommandClient:
        """Return the connections to the shard that a name lives on."""
        if len(self._batchers) == 1:
            return self._batchers[0]
        return self._batchers[shard_of(name, len(self._batchers))]

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(batcher.close() for batcher in self._batchers))

    def abandon(self) -> None:
        """Drop all connections: their event loop is closed."""
        for batcher in self._batchers:
            batcher.abandon()


def shard_of(name: str, shards: int) -> int:
    """Return the index, from 0, of the host among `shards` hosts that `name` lives on.

    Processes of `channels_redis` on the same servers must come to the same answer, so the ring
    of 4096 points and the division of floats are fixed.
    """
    if shards == 1:
        return 0
    return int((crc32(name.encode()) & 0xFFF) / (4096 / shards))
