"""The command connections of one event loop, one for each host."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .batching import Batcher
from .sharding import shard_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .connections import Connector
    from .scripts import Script


class Shards:
    """The batchers of one event loop, in the order of the hosts.

    Args:
        connectors: One for each host.
        scripts: What every connection loads.
    """

    def __init__(self, connectors: Sequence[Connector], scripts: Sequence[Script] = ()) -> None:
        self._batchers = [Batcher(connector, scripts) for connector in connectors]

    def __getitem__(self, index: int) -> Batcher:
        """Return the batcher of the shard with this index."""
        return self._batchers[index]

    def __len__(self) -> int:
        """Return the number of shards."""
        return len(self._batchers)

    def of(self, name: str) -> Batcher:
        """Return the batcher of the shard that a name lives on."""
        return self._batchers[shard_of(name, len(self._batchers))]

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(batcher.close() for batcher in self._batchers))

    def abandon(self) -> None:
        """Drop all connections: their event loop is closed."""
        for batcher in self._batchers:
            batcher.abandon()
