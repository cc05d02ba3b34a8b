from __future__ import annotations

import pytest

from channels_redis_shared.transport.commands import shard_of


@pytest.mark.parametrize(
    ("name", "shards", "shard"),
    [("key_one", 2, 1), ("key_two", 2, 0), ("key_one", 10, 6), ("key_two", 10, 4)],
)
def test_known_names_live_where_channels_redis_looks(name: str, shards: int, shard: int) -> None:
    """The shard of a name is the one that channels_redis computes for it."""
    assert shard_of(name, shards) == shard


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 100])
def test_every_shard_is_used_and_no_other(shards: int) -> None:
    """Names spread over all shards, from 0 to one less than their number."""
    assert {shard_of(f"room-{n}", shards) for n in range(5000)} == set(range(shards))
