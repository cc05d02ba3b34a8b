"""Names on the wire."""

from __future__ import annotations

import re

import pytest
from redis.crc import key_slot

from channels_redis_queue import keys
from channels_redis_queue._shared.transport.commands import shard_of


def test_process_ids_are_told_from_those_of_channels_redis() -> None:
    """16 random hex digits, of which the 13th is never the 4 that every uuid4 has there."""
    ids = {keys.new_process_id() for _ in range(200)}
    assert len(ids) == 200
    assert all(re.fullmatch(r"[0-9a-f]{16}", process) for process in ids)
    assert all(keys.is_of_this_layer(process) for process in ids)
    assert not keys.is_of_this_layer("0f9e8d7c6b5a4f3e8d7c6b5a4f3e2d1c")


@pytest.mark.parametrize("shards", [1, 2, 3, 10])
def test_new_channel_is_on_the_shard_of_its_address(shards: int) -> None:
    """Its shard by the whole name, as in `channels_redis`, is the same."""
    names = {keys.new_channel("specific.0c!", shards) for _ in range(50)}
    assert len(names) == 50
    assert {shard_of(name, shards) for name in names} == {shard_of("specific.0c!", shards)}
    assert all(re.fullmatch(r"specific\.0c![0-9a-f]{32}", name) for name in names)


@pytest.mark.parametrize("prefix", ["asgi", "{asgi}", "a{b}c:", "site:"])
@pytest.mark.parametrize("address", ["jobs", "specific.0c!"])
def test_keys_of_an_address_share_a_slot(prefix: str, address: str) -> None:
    """A script needs all its keys in one slot of a Redis Cluster."""
    queue = keys.Keys(prefix).messages(address)
    names = [queue.key, queue.bell, queue.claims("0f"), queue.nudge("0f")]
    assert len(set(names)) == len(names)
    assert len({key_slot(name.encode()) for name in names}) == 1
    assert all(name.startswith(prefix) for name in names)


def test_keys_beside_a_message_key() -> None:
    """The names that processes of one fleet must agree on."""
    assert keys.Keys("asgi").messages("jobs").bell == "asgi$bell{asgijobs}"
    assert keys.Keys("{asgi}").messages("jobs").bell == "{asgi}jobs$bell"
    theirs = keys.Keys("asgi").messages(f"a.{'0' * 12}4{'0' * 19}!")
    assert theirs.bell == theirs.key  # a process of channels_redis waits for messages
