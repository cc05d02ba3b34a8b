"""Deletes all keys of a layer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._shared.transport.pipeline import CommandClient
    from ._shared.transport.shards import Shards
    from .keys import Keys

# How many keys one SCAN looks at.
COUNT = 1000


async def flush(shards: Shards, keys: Keys) -> None:
    """Delete the keys of a layer, on all shards."""
    await asyncio.gather(*(_flush(shards[index], keys) for index in range(len(shards))))


async def _flush(commands: CommandClient, keys: Keys) -> None:
    nodes = await commands.nodes()
    await asyncio.gather(*(_flush_node(commands, node, keys) for node in nodes))


async def _flush_node(commands: CommandClient, node: CommandClient, keys: Keys) -> None:
    cursor, pattern = b"0", keys.pattern()
    while True:
        scan = ("SCAN", cursor, "MATCH", pattern, "COUNT", COUNT)
        cursor, found = await node.execute(scan, key=pattern, idempotent=True)
        by_slot: dict[int | None, list[str]] = {}
        for key in found:
            name = key.decode(errors="replace")
            if not keys.owns(name):
                continue
            by_slot.setdefault(commands.slot(name), []).append(name)
        # Not through the node: a key may have moved since it was found.
        await asyncio.gather(
            *(
                commands.execute(("UNLINK", *names), key=names[0], idempotent=True)
                for names in by_slot.values()
            )
        )
        if int(cursor) == 0:
            return
