"""The scripts that work on groups, one by one, on a server."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import pytest

from channels_redis_queue import scripts
from channels_redis_queue._shared.liveness import SWAP
from channels_redis_queue.keys import Keys
from support.queue_layers import ScriptServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embedded_server import EmbeddedServer


EXPIRY = 60


@pytest.fixture
def server(redis_server: EmbeddedServer) -> Iterator[ScriptServer]:
    """Yield a connection to the server."""
    with redis_server.client() as client:
        yield ScriptServer(client)


def test_group_add_renews(server: ScriptServer, prefix: str) -> None:
    """It returns the time that it wrote, and the key lives `group_expiry` seconds from now."""
    group = Keys(prefix).group("room")
    first = server.run(scripts.GROUP_ADD, [group], "a", 100)
    server.client.expire(group, 5)
    second = server.run(scripts.GROUP_ADD, [group], "a", 100)
    assert float(first) < float(second) == server.client.zscore(group, "a")
    assert 90 < server.client.ttl(group) <= 100


def test_expired_names_are_no_members(server: ScriptServer, prefix: str) -> None:
    """A name whose time is over is not listed, and the next `group_add` removes it."""
    group = Keys(prefix).group("room")
    server.run(scripts.GROUP_ADD, [group], "a", 100)
    server.client.zadd(group, {"old": server.now() - 101})
    assert server.run(scripts.GROUP_MEMBERS, [group], 100) == b"a"
    server.run(scripts.GROUP_ADD, [group], "b", 100)
    assert server.run(scripts.GROUP_MEMBERS, [group], 100) == b"a b"
    assert server.client.zrange(group, 0, -1) == [b"a", b"b"]


def test_group_forget_only_what_this_process_wrote_last(server: ScriptServer, prefix: str) -> None:
    """A virtual channel that was renewed meanwhile stays in its group."""
    group, behind = Keys(prefix).group("room"), Keys(prefix).members("v!:g:room")
    before = server.run(scripts.GROUP_ADD, [group, behind], "v", 100, "one")
    renewed = server.run(scripts.GROUP_ADD, [group, behind], "v", 100)
    assert server.run(scripts.GROUP_FORGET, [group, behind], "v", before) == 0
    assert server.client.zrange(group, 0, -1) == [b"v"]
    assert server.client.smembers(behind) == {b"one"}
    # Some servers write a score with 17 digits, others only with those that it needs.
    assert server.run(scripts.GROUP_FORGET, [group, behind], "v", f"{float(renewed):.17g}0") == 1
    assert not server.client.exists(group, behind)


def test_group_forget_of_a_plain_name(server: ScriptServer, prefix: str) -> None:
    """A name that stands for one channel has no set of members beside the group."""
    group = Keys(prefix).group("room")
    score = server.run(scripts.GROUP_ADD, [group], "a", 100)
    assert server.run(scripts.GROUP_FORGET, [group], "a", b"1") == 0
    assert server.run(scripts.GROUP_FORGET, [group], "a", score) == 1
    assert not server.client.exists(group)


def test_swap(server: ScriptServer, prefix: str) -> None:
    """It writes a value for a time, and returns the one before."""
    key = f"{prefix}swapped"
    assert server.run(SWAP, [key], "one", 100) is None
    assert server.run(SWAP, [key], "two", 10) == b"one"
    assert server.client.get(key) == b"two"
    assert 0 < server.client.ttl(key) <= 10


def test_mark_gone_only_after_the_same_sign(server: ScriptServer, prefix: str) -> None:
    """A process that has sent another heartbeat meanwhile is not marked."""
    key = f"{prefix}alive"
    server.client.set(key, "two")
    assert server.run(scripts.MARK_GONE, [key], "one", "gone", 100) == 0
    assert server.client.get(key) == b"two"
    assert server.run(scripts.MARK_GONE, [key], "two", "gone", 100) == 1
    assert server.client.get(key) == b"gone"
    assert server.run(scripts.MARK_GONE, [key], "two", "gone", 100) == 1
    assert 0 < server.client.ttl(key) <= 100
    server.client.delete(key)
    assert server.run(scripts.MARK_GONE, [key], "two", "gone", 100) == 0


def test_members_behind_a_virtual_channel(server: ScriptServer, prefix: str) -> None:
    """They are added with it, live as long, and leave one by one."""
    group, behind = Keys(prefix).group("room"), Keys(prefix).members("v!:g:room")
    server.run(scripts.GROUP_ADD, [group, behind], "v!:g:room", 100, "one", "two")
    server.client.expire(behind, 5)
    server.run(scripts.GROUP_ADD, [group, behind], "v!:g:room", 100, "three")
    assert server.client.smembers(behind) == {b"one", b"two", b"three"}
    assert 90 < server.client.ttl(behind) <= 100
    server.run(scripts.GROUP_DISCARD, [group, behind], "v!two", "two", "v!:g:room")
    assert server.client.smembers(behind) == {b"one", b"three"}
    assert server.client.zrange(group, 0, -1) == [b"v!:g:room"]


def test_group_discard_returns_the_time(server: ScriptServer, prefix: str) -> None:
    """A plain name is removed; the time tells which memberships of its process are over."""
    group = Keys(prefix).group("room")
    score = server.run(scripts.GROUP_ADD, [group], "a", 100)
    at, after = server.run(scripts.GROUP_DISCARD, [group], "a")
    assert float(score) < float(at) == float(after) <= server.now() <= time.time() + 3600
    assert not server.client.exists(group)


def sha1(names: bytes) -> str:
    """Return the hash by which a server compares the names of a group."""
    return hashlib.sha1(names).hexdigest()  # noqa: S324 - Lua has this one


def test_guarded_send_looks_at_the_group(server: ScriptServer, prefix: str) -> None:
    """A message goes to a group's destinations only if the group is as its sender knows it."""
    group = Keys(prefix).group("room")
    for name in ("b", "a"):
        server.run(scripts.GROUP_ADD, [group], name, 100)
    known = server.run(scripts.GROUP_MEMBERS, [group], 100)
    assert known == b"a b"
    beside = Keys(prefix).messages("jobs")
    keys = [group, beside.key, beside.bell]
    assert server.run(scripts.SEND, keys, EXPIRY, 100, sha1(known), 1, b"one", 1, 1, 1) == []
    server.run(scripts.GROUP_ADD, [group], "c", 100)
    assert server.run(scripts.SEND, keys, EXPIRY, 100, sha1(known), 1, b"two", 1, 9, 1) == b"a b c"
    assert server.client.zrange(beside.key, 0, -1) == [b"one"]
    # A membership that was renewed is no other one.
    server.run(scripts.GROUP_ADD, [group], "a", 100)
    assert server.run(scripts.SEND, keys, EXPIRY, 100, sha1(b"a b c"), 1, b"three", 1, 1, 1) == [1]
