"""Deletes all keys of a layer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._shared.batching import Batcher
    from ._shared.shards import Shards

# How many keys one SCAN looks at.
COUNT = 1000


async def flush(shards: Shards, pattern: str) -> None:
    """Delete the keys that match a SCAN pattern, on all shards."""
    await asyncio.gather(*(_flush(shards[index], pattern) for index in range(len(shards))))


async def _flush(commands: Batcher, pattern: str) -> None:
    cursor = b"0"
    while True:
        cursor, found = await commands.execute(
            ("SCAN", cursor, "MATCH", pattern, "COUNT", COUNT), repeatable=True
        )
        if found:
            await commands.execute(("UNLINK", *found), repeatable=True)
        if int(cursor) == 0:
            return
