"""The scripts of queues and of groups, each on a server."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from msgpack import packb

from channels_redis_queue import scripts
from channels_redis_queue.keys import Keys
from support.queue_layers import ScriptServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from embedded_server import EmbeddedServer


EXPIRY = 60
# No group is looked at before the message is sent.
UNGUARDED = (0, b"")
CLAIMS_LIVE = 30


class Queue(ScriptServer):
    """A message key and the keys next to it, with the scripts that work on it."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        super().__init__(client)
        beside = Keys(prefix).messages("specific.0c!")
        self.key, self.bell = beside.key, beside.bell
        self.claims = beside.claims("0f")
        self.releases = 0
        # Of the latest take.
        self.reply: Any = None
        self.scores: list[bytes] = []

    def send(self, *messages: bytes, capacity: int = 100) -> list[int]:
        """Send messages; return 1 for each that was refused."""
        keys, before = [self.key, self.bell], [EXPIRY, *UNGUARDED, packb([1, capacity, 1])]
        refused = [self.run(scripts.SEND, keys, *before, body) for body in messages]
        return [len(full) for full in refused]

    def take(self, wanted: int, *acknowledged: bytes) -> list[bytes]:
        """Take; return the claims without scores."""
        keys = [self.key, self.bell, self.claims]
        self.reply = self.run(scripts.TAKE, keys, wanted, EXPIRY, CLAIMS_LIVE, *acknowledged)
        claims = self.client.zrangebyscore(
            self.claims, 0, "+inf", withscores=True, score_cast_func=lambda score: score
        )
        self.scores = [score for _, score in claims]
        return [message for message, _ in claims]

    def release(self, *scores: bytes, number: int = 0) -> int | None:
        """Requeue claims; return the number of requeued messages."""
        keys = [self.key, self.bell, self.claims]
        self.releases = number or self.releases + 1
        arguments = (EXPIRY, CLAIMS_LIVE, self.releases, *scores)
        returned: int | None = self.run(scripts.RELEASE, keys, *arguments)
        return returned


@pytest.fixture
def queue(redis_server: EmbeddedServer, prefix: str) -> Iterator[Queue]:
    """Yield an empty queue."""
    with redis_server.client() as client:
        yield Queue(client, prefix)


def test_bell_outlives_the_message(queue: Queue) -> None:
    """A bell that rings already is not renewed by each message, so it lives for much longer."""
    queue.send(b"1")
    assert queue.client.ttl(queue.bell) > 5 * EXPIRY
    queue.send(b"2", b"3")
    queue.client.delete(queue.bell)
    queue.take(2)  # rings for the third
    assert queue.client.ttl(queue.bell) > 5 * EXPIRY
    queue.client.delete(queue.bell)
    queue.release(*queue.scores)
    assert queue.client.ttl(queue.bell) > 5 * EXPIRY


def test_expired_messages_take_no_room(queue: Queue) -> None:
    """A key with nothing but expired messages is not full, and loses them with the next send."""
    seconds, _ = queue.client.time()
    queue.client.zadd(queue.key, {b"old": seconds - EXPIRY - 1})
    assert queue.send(b"1", b"2", capacity=1) == [0, 1]
    assert queue.client.zrange(queue.key, 0, -1) == [b"1"]


def test_sends_behind_a_clock_that_is_ahead(queue: Queue) -> None:
    """First in, first out, also when the last message's score is not in the past."""
    ahead = queue.now() + 1000
    queue.client.zadd(queue.key, {b"ahead": ahead})
    queue.send(b"z", b"y", b"x")
    found = queue.client.zrange(queue.key, 0, -1, withscores=True)
    assert [message for message, _ in found] == [b"ahead", b"z", b"y", b"x"]
    scores = [score for _, score in found]
    assert all(after - before >= 0.9e-6 for before, after in itertools.pairwise(scores))


def test_scores_keep_their_microseconds(queue: Queue) -> None:
    """Through a send, a take and a release no digit gets lost."""
    queue.send(*(b"%d" % n for n in range(20)))
    sent = queue.client.zrange(queue.key, 0, -1, withscores=True)
    assert any(round(score * 1_000_000) % 100 for _, score in sent)
    queue.take(20)
    assert queue.client.zrange(queue.claims, 0, -1, withscores=True) == sent
    assert 0 < queue.client.ttl(queue.claims) <= CLAIMS_LIVE
    queue.release(*queue.scores)
    assert queue.client.zrange(queue.key, 0, -1, withscores=True) == sent


def test_take_acknowledges_before_it_takes(queue: Queue) -> None:
    """A message whose score is one that is acknowledged just now is none of the old ones."""
    queue.client.zadd(queue.claims, {b"old": 5000000000.5})
    queue.client.zadd(queue.key, {b"new": 5000000000.5})
    assert queue.take(1, b"5000000000.5") == [b"new"]


def test_release_that_arrives_late(queue: Queue) -> None:
    """A message that was taken again and delivered is not requeued; one that was is not doubled."""
    queue.send(b"1")
    queue.take(1)
    score = queue.scores[0]
    assert queue.release(score, number=1) == 1
    queue.client.delete(queue.bell)
    assert queue.release(score, number=2) == 0
    assert queue.client.zrange(queue.key, 0, -1) == [b"1"]
    assert not queue.client.exists(queue.bell)
    assert queue.take(1) == [b"1"]
    assert queue.release(score, number=1) is None
    assert queue.release(score, number=2) is None
    assert queue.take(0) == [b"1"]
    assert not queue.client.exists(queue.key)
    assert queue.release(score, number=3) == 1


def test_take_leaves_what_is_too_much_at_once(queue: Queue) -> None:
    """A backlog comes in pieces of about a megabyte; a single message may be larger."""
    queue.send(b"0" * 3_000_000, *(b"%d" % n + b"x" * 200_000 for n in range(20)), capacity=100)
    pieces: list[int] = []
    while queue.client.exists(queue.key):
        queue.client.delete(queue.bell)
        queue.take(100, *(queue.scores if pieces else ()))
        pieces.append(len(queue.scores))
        assert queue.client.exists(queue.bell) == queue.client.exists(queue.key)
    assert sum(pieces) == 21
    assert pieces[0] == 10
    assert max(pieces[1:]) <= 10
    # A piece whose reply was lost comes again, and no larger.
    queue.send(*(b"%d" % n + b"x" * 200_000 for n in range(20)), capacity=100)
    queue.take(100, *queue.scores)
    assert queue.take(100) == queue.take(100)
    # Small messages come all at once.
    queue.send(*(b"small %d" % n for n in range(50)), capacity=100)
    queue.take(100, *queue.scores)
    queue.take(100, *queue.scores)
    assert len(queue.scores) == 50


def test_large_body_is_in_lua_once(own_server: EmbeddedServer) -> None:
    """However many keys a body goes to, scripts copy it once; and not at all to take it."""

    def lua_memory() -> int:
        return int(client.info("memory")["used_memory_lua"])

    with own_server.client() as client:
        queue, body = Queue(client, "asgi"), b"x" * 10_000_000
        # The queue's first.
        places = [Keys("asgi").messages(f"specific.{n}c!") for n in range(5)]
        names = [name for each in places for name in (each.key, each.bell)]
        numbers = [number for n in range(1, 6) for number in (n, 100, 1)]
        before = lua_memory()
        queue.run(scripts.SEND, names, EXPIRY, *UNGUARDED, packb(numbers), body)
        assert len(body) < lua_memory() - before < 1.5 * len(body)
        client.script_flush()
        before = lua_memory()
        assert queue.take(5) == [body]
        assert lua_memory() - before < 0.5 * len(body)


def test_expired_names_are_no_members(queue: Queue, prefix: str) -> None:
    """A name whose time is over is not listed, and the next `group_add` removes it."""
    group = Keys(prefix).group("room")
    queue.run(scripts.GROUP_ADD, [group], "a", 100)
    queue.client.zadd(group, {"old": queue.now() - 101})
    assert queue.run(scripts.GROUP_MEMBERS, [group], 100) == packb(["a"])
    queue.run(scripts.GROUP_ADD, [group], "b", 100)
    assert queue.run(scripts.GROUP_MEMBERS, [group], 100) == packb(["a", "b"])
    assert queue.client.zrange(group, 0, -1) == [b"a", b"b"]


def test_group_forget_only_what_this_process_wrote_last(queue: Queue, prefix: str) -> None:
    """A virtual channel that was renewed meanwhile stays in its group."""
    group, behind = Keys(prefix).group("room"), Keys(prefix).members("v!:g:room")
    before = queue.run(scripts.GROUP_ADD, [group, behind], "v", 100, "one")
    renewed = queue.run(scripts.GROUP_ADD, [group, behind], "v", 100)
    assert queue.run(scripts.GROUP_FORGET, [group, behind], "v", before) == 0
    assert queue.client.zrange(group, 0, -1) == [b"v"]
    assert queue.client.smembers(behind) == {b"one"}
    # Some servers write a score with 17 digits, others only with those that it needs.
    assert queue.run(scripts.GROUP_FORGET, [group, behind], "v", f"{float(renewed):.17g}0") == 1
    assert not queue.client.exists(group, behind)
    # A name that stands for one channel has no set of members next to the group.
    score = queue.run(scripts.GROUP_ADD, [group], "a", 100)
    assert queue.run(scripts.GROUP_FORGET, [group], "a", b"1") == 0
    assert queue.run(scripts.GROUP_FORGET, [group], "a", score) == 1
    assert not queue.client.exists(group)


def test_mark_gone_only_after_the_same_sign(queue: Queue, prefix: str) -> None:
    """A process that has sent another heartbeat meanwhile is not marked."""
    key = f"{prefix}alive"
    queue.client.set(key, "two")
    assert queue.run(scripts.MARK_GONE, [key], "one", "gone", 100) == 0
    assert queue.client.get(key) == b"two"
    assert queue.run(scripts.MARK_GONE, [key], "two", "gone", 100) == 1
    assert queue.client.get(key) == b"gone"
    assert queue.run(scripts.MARK_GONE, [key], "two", "gone", 100) == 1
    assert 0 < queue.client.ttl(key) <= 100
    queue.client.delete(key)
    assert queue.run(scripts.MARK_GONE, [key], "two", "gone", 100) == 0
