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


def test_parts_of_a_channels_name() -> None:
    """A process-specific name has an address that ends in `!`, and a process before it."""
    assert keys.non_local("specific.0c!1a") == "specific.0c!"
    assert keys.non_local("jobs") == "jobs"
    assert keys.process_of("specific.0c!1a") == "0c"
    assert keys.process_of("my.own.0c!1a") == "0c"
    assert keys.process_of("jobs") is None


@pytest.mark.parametrize("shards", [1, 2, 3, 10])
def test_new_channel_is_on_the_shard_of_its_address(shards: int) -> None:
    """Its shard by the whole name, as in `channels_redis`, is the same."""
    names = {keys.new_channel("specific.0c!", shards) for _ in range(50)}
    assert len(names) == 50
    assert {shard_of(name, shards) for name in names} == {shard_of("specific.0c!", shards)}
    assert all(re.fullmatch(r"specific\.0c![0-9a-f]{32}", name) for name in names)


def test_virtual_channels() -> None:
    """A virtual channel lives at its members' address, and names its group."""
    virtual = keys.virtual_channel("specific.0c!", "room-1")
    assert keys.is_virtual(virtual)
    assert not keys.is_virtual("specific.0c!1a")
    assert not keys.is_virtual("jobs")
    assert keys.group_of(virtual) == "room-1"
    assert keys.non_local(virtual) == "specific.0c!"


@pytest.mark.parametrize("prefix", ["asgi", "{asgi}", "a{b}c:", "site:"])
@pytest.mark.parametrize("address", ["jobs", "specific.0c!"])
def test_keys_of_an_address_share_a_slot(prefix: str, address: str) -> None:
    """A script needs all its keys in one slot of a Redis Cluster."""
    beside = keys.Keys(prefix).messages(address)
    names = [
        beside.key,
        beside.bell,
        beside.claims("0f"),
        beside.nudge("0f"),
    ]
    assert len(set(names)) == len(names)
    assert len({key_slot(name.encode()) for name in names}) == 1
    assert all(name.startswith(prefix) for name in names)


def test_message_key_is_that_of_channels_redis() -> None:
    """Both layers read and write the same sorted sets."""
    assert keys.Keys("asgi").messages("jobs").key == "asgijobs"
    assert keys.Keys("asgi").messages("specific.0c!").key == "asgispecific.0c!"
    assert keys.Keys("asgi").group("room") == "asgi:group:room"


def test_keys_beside_a_message_key() -> None:
    """The names that processes of one fleet must agree on."""
    assert keys.Keys("asgi").messages("jobs").bell == "asgi$bell{asgijobs}"
    assert keys.Keys("{asgi}").messages("jobs").bell == "{asgi}jobs$bell"
    theirs = keys.Keys("asgi").messages(f"a.{'0' * 12}4{'0' * 19}!")
    assert theirs.bell == theirs.key  # a process of channels_redis waits for messages


def test_pattern_escapes_every_special_character() -> None:
    """Each character of a prefix stands for itself."""
    assert keys.Keys(r"a*b?c[d]e\f^g-h").pattern() == r"a\*b\?c\[d\]e\\f\^g\-h*"


@pytest.mark.parametrize(
    ("name", "shards", "shard"),
    [("key_one", 2, 1), ("key_two", 2, 0), ("key_one", 10, 6), ("key_two", 10, 4)],
)
def test_known_names_live_where_channels_redis_looks(name: str, shards: int, shard: int) -> None:
    """The shard of a name is the one that channels_redis computes for it."""
    assert shard_of(name, shards) == shard
