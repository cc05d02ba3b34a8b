"""Which of several hosts a name lives on."""

from __future__ import annotations

from zlib import crc32


def shard_of(name: str, shards: int) -> int:
    """Return the index, from 0, of the host among `shards` hosts that `name` lives on.

    Processes of `channels_redis` on the same servers must come to the same answer, so the ring
    of 4096 points and the division of floats are fixed.
    """
    if shards == 1:
        return 0
    return int((crc32(name.encode()) & 0xFFF) / (4096 / shards))
