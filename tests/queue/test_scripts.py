"""The scripts, one by one, on a server."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ResponseError

from channels_redis_queue import scripts
from channels_redis_queue.keys import Keys
from support.queue_layers import ScriptServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from embedded_server import EmbeddedServer

EXPIRY = 60
# No group is looked at before the message is sent.
UNGUARDED = (0, b"")
CLAIMS_LIVE = 30


class Queue(ScriptServer):
    """A message key and what is beside it, with the scripts that work on it."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        super().__init__(client)
        beside = Keys(prefix).messages("specific.0c!")
        self.key, self.bell = beside.key, beside.bell
        self.claims = beside.claims("0f")
        self.releases = 0
        self.reply: Any = [b"", [], 1]

    def send(self, *messages: bytes, capacity: int = 100) -> list[int]:
        """Send messages; return 1 for each that was refused."""
        keys, arguments = [self.key, self.bell, self.key], [EXPIRY, *UNGUARDED, 1, capacity, 0]
        refused = [self.run(scripts.SEND, keys, *arguments, message) for message in messages]
        return [len(full) for full in refused]

    def take(self, wanted: int, *acknowledged: bytes) -> list[bytes]:
        """Take; return the claims without scores."""
        keys = [self.key, self.bell, self.claims]
        self.reply = self.run(scripts.TAKE, keys, wanted, EXPIRY, CLAIMS_LIVE, *acknowledged)
        claims: list[bytes] = self.reply[1][::2]
        return claims

    def release(self, *scores: bytes, number: int = 0) -> int | None:
        """Requeue claims; return the number of requeued messages."""
        keys = [self.key, self.bell, self.claims]
        self.releases = number or self.releases + 1
        arguments = (EXPIRY, CLAIMS_LIVE, self.releases, *scores)
        returned: int | None = self.run(scripts.RELEASE, keys, *arguments)
        return returned

    def commands_of(self, work: Callable[[], object]) -> list[bytes]:
        """Return the lines of MONITOR for what is done."""
        connection = self.client.connection_pool.make_connection()
        connection.send_command("MONITOR")
        connection.read_response()
        work()
        self.client.echo("the end")
        seen = []
        while b"the end" not in (line := connection.read_response()):
            seen.append(line)
        connection.disconnect()
        return seen


@pytest.fixture
def queue(redis_server: EmbeddedServer, prefix: str) -> Iterator[Queue]:
    """Yield an empty queue."""
    with redis_server.client() as client:
        yield Queue(client, prefix)


def test_send_adds_with_the_servers_time(queue: Queue) -> None:
    """A message's score is when it was sent; key and bell expire."""
    before = queue.now()
    queue.send(b"m")
    [(message, score)] = queue.client.zrange(queue.key, 0, -1, withscores=True)
    assert message == b"m"
    assert before <= score <= queue.now()
    assert 0 < queue.client.ttl(queue.key) <= EXPIRY
    assert queue.client.ttl(queue.bell) > 0


def test_bell_outlives_the_message(queue: Queue) -> None:
    """A bell that rings already is not renewed by each message, so it lives for much longer."""
    queue.send(b"1")
    assert queue.client.ttl(queue.bell) > 5 * EXPIRY
    queue.send(b"2", b"3")
    queue.client.delete(queue.bell)
    queue.take(2)  # rings for the third
    assert queue.client.ttl(queue.bell) > 5 * EXPIRY
    queue.client.delete(queue.bell)
    queue.release(*queue.reply[1][1::2])
    assert queue.client.ttl(queue.bell) > 5 * EXPIRY


def test_send_rings_before_the_message_is_there(queue: Queue) -> None:
    """Waking a reader has to consume the bell: Redis 6 pops the key that was written first."""
    seen = queue.commands_of(lambda: queue.send(b"m"))
    added = [line for line in seen if b'lua] "ZADD"' in line]
    assert [queue.bell.encode() in line for line in added] == [True, False]


def test_send_refuses_what_is_over_capacity(queue: Queue) -> None:
    """A full key stays as it is, and its bell as well; expired messages don't count."""
    assert queue.send(b"1", b"2", b"3", capacity=2) == [0, 0, 1]
    queue.client.delete(queue.bell)
    assert queue.send(b"4", capacity=2) == [1]
    assert queue.client.zrange(queue.key, 0, -1) == [b"1", b"2"]
    assert not queue.client.exists(queue.bell)
    queue.client.zadd(queue.key, {b"1": queue.now() - EXPIRY - 1})
    assert queue.send(b"4", capacity=2) == [0]
    assert queue.client.zrange(queue.key, 0, -1) == [b"2", b"4"]


class Crowd:
    """A process's message key with a capacity of 10, and messages counted by channel."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.counts = f"{queue.key}$counts"
        self._texts = itertools.count()

    def add(self, channel: int, count: int, capacity: int = 10) -> int:
        """Send so many messages, one by one; return how many were accepted."""
        keys = [self.queue.key, self.queue.bell, self.counts]
        return sum(
            not self.queue.run(
                scripts.SEND, keys, EXPIRY, *UNGUARDED, 1, capacity, channel, next(self._texts)
            )
            for _ in range(count)
        )


def test_channel_that_is_not_read_is_full_at_its_capacity(queue: Queue) -> None:
    """Whatever the capacity, and the others of its process have room."""
    crowd = Crowd(queue)
    for capacity in (1, 2, 3, 10):
        queue.client.delete(queue.key)
        assert crowd.add(1, 20, capacity) == capacity
        for channel in (2, 3):
            assert crowd.add(channel, 20, capacity) == capacity - capacity // 2
    assert 0 < queue.client.ttl(crowd.counts) <= EXPIRY


def test_message_key_holds_ten_times_the_capacity(queue: Queue) -> None:
    """However many channels there are."""
    crowd = Crowd(queue)
    assert sum(crowd.add(channel, 20) for channel in range(30)) == 100


def test_messages_are_counted_anew_when_half_was_free(queue: Queue) -> None:
    """Messages that the process has taken count for no channel; before, nothing is counted."""
    crowd = Crowd(queue)
    assert crowd.add(1, 5) == 5
    assert not queue.client.exists(crowd.counts)
    assert crowd.add(1, 20) == 5
    queue.take(6)
    assert crowd.add(1, 20) == 6
    assert crowd.add(2, 20) == 5


def test_channel_has_room_while_its_key_has(queue: Queue) -> None:
    """Old counts take no room that the key's capacity leaves, whichever process took or sent."""
    crowd = Crowd(queue)
    assert crowd.add(1, 20) == 10
    queue.take(4)
    assert crowd.add(1, 20) == 4
    queue.client.delete(queue.key)
    # A process of channels_redis counts nothing.
    queue.client.zadd(queue.key, {f"foreign {number}": time.time() for number in range(6)})
    assert crowd.add(1, 20) == 4
    assert crowd.add(2, 20) == 5


def test_counting_needs_memory_only_after_the_bell(queue: Queue) -> None:
    """The bell is still the first write, which a server at `maxmemory` may refuse."""
    crowd = Crowd(queue)
    crowd.add(1, 5)
    queue.client.delete(queue.bell)
    seen = queue.commands_of(lambda: crowd.add(1, 1))
    writes = [b"ZADD", b"UNLINK", b"HINCRBY"]
    first = [word for line in seen if b"lua]" in line for word in writes if b'"%s"' % word in line]
    assert first == [b"ZADD", b"UNLINK", b"HINCRBY", b"ZADD"]


def test_send_to_several_keys(queue: Queue) -> None:
    """Each destination has its own capacity and message; the full ones are named by position."""
    places = [(f"{queue.key}{n}", f"{queue.bell}{n}", f"{queue.key}{n}") for n in range(3)]
    keys = [name for place in places for name in place]
    queue.client.zadd(keys[3], {b"old": queue.now()})
    messages = [word for n, text in enumerate((b"a", b"b", b"c"), 1) for word in (n, 1, 0, text)]
    full = queue.run(scripts.SEND, keys, EXPIRY, *UNGUARDED, *messages)
    assert full == [2]
    found = [queue.client.zrange(key, 0, -1) for key in keys[::3]]
    assert found == [[b"a"], [b"old"], [b"c"]]


def test_send_of_several_messages_to_one_key(queue: Queue) -> None:
    """Each counts for those behind it, an equal one does not; all keep their order."""
    queue.client.zadd(queue.key, {b"old": queue.now() - EXPIRY - 1, b"first": queue.now()})
    texts = [b"z", b"y", b"z", b"x", b"w"]
    messages = [word for text in texts for word in (1, 4, 0, text)]
    keys = [queue.key, queue.bell, queue.key]
    full = queue.run(scripts.SEND, keys, EXPIRY, *UNGUARDED, *messages)
    assert full == [5]
    assert queue.client.zrange(queue.key, 0, -1) == [b"first", b"y", b"z", b"x"]
    assert queue.client.ttl(queue.key) > 0


def test_send_of_what_equals_an_expired_message(queue: Queue) -> None:
    """It takes up room, though the key has not grown by it."""
    queue.client.zadd(queue.key, {b"a": queue.now() - EXPIRY - 1, b"first": queue.now()})
    messages = [word for text in (b"a", b"b") for word in (1, 2, 0, text)]
    keys = [queue.key, queue.bell, queue.key]
    full = queue.run(scripts.SEND, keys, EXPIRY, *UNGUARDED, *messages)
    assert full == [2]
    assert queue.client.zrange(queue.key, 0, -1) == [b"first", b"a"]


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
    queue.release(*queue.reply[1][1::2])
    assert queue.client.zrange(queue.key, 0, -1, withscores=True) == sent


def test_take_moves_into_claims(queue: Queue) -> None:
    """It returns the oldest in order, and keeps them until they are acknowledged."""
    queue.send(b"1", b"2", b"3")
    assert queue.take(2) == [b"1", b"2"]
    assert queue.take(0) == [b"1", b"2"]
    assert 0 < queue.client.ttl(queue.claims) <= CLAIMS_LIVE
    first = queue.reply[1][1]
    assert queue.take(1, first) == [b"2", b"3"]
    assert queue.take(1, *queue.reply[1][1::2]) == []
    assert not queue.client.exists(queue.claims)


def test_take_acknowledges_before_it_takes(queue: Queue) -> None:
    """A message whose score is one that is acknowledged just now is none of the old ones."""
    queue.client.zadd(queue.claims, {b"old": 5000000000.5})
    queue.client.zadd(queue.key, {b"new": 5000000000.5})
    assert queue.take(1, b"5000000000.5") == [b"new"]


def test_take_rings_for_what_it_leaves(queue: Queue) -> None:
    """Another reader is woken for the rest, if there is any."""
    queue.send(b"1", b"2")
    queue.client.delete(queue.bell)
    queue.take(1)
    assert queue.client.exists(queue.bell)
    queue.client.delete(queue.bell)
    queue.take(1)
    assert not queue.client.exists(queue.bell)


def test_take_says_what_time_it_is(queue: Queue) -> None:
    """The reader learns the server's time, to the microsecond."""
    before = queue.now()
    queue.take(0)
    assert before <= float(queue.reply[0]) <= queue.now()
    assert len(queue.reply[0].partition(b".")[2]) == 6


def test_release_puts_back_in_place(queue: Queue) -> None:
    """A message that found no taker is again the oldest, and readers are woken."""
    queue.send(b"1", b"2", b"3")
    queue.take(2)
    queue.client.delete(queue.bell)
    assert queue.release(*queue.reply[1][1::2]) == 2
    assert queue.client.zrange(queue.key, 0, -1) == [b"1", b"2", b"3"]
    assert queue.client.exists(queue.bell)
    assert queue.take(0) == []
    assert 0 < queue.client.ttl(queue.claims) <= CLAIMS_LIVE


def test_release_that_arrives_late(queue: Queue) -> None:
    """A message that was taken again and delivered is not requeued."""
    queue.send(b"1")
    queue.take(1)
    score = queue.reply[1][1]
    assert queue.release(score, number=2) == 1
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
        queue.take(100, *(queue.reply[1][1::2] if pieces else ()))
        pieces.append(len(queue.reply[1][::2]))
        assert queue.client.exists(queue.bell) == queue.client.exists(queue.key)
    assert sum(pieces) == 21
    assert pieces[0] == 10
    assert max(pieces[1:]) <= 10
    # A piece whose reply was lost comes again, and no larger.
    queue.send(*(b"%d" % n + b"x" * 200_000 for n in range(20)), capacity=100)
    queue.take(100, *queue.reply[1][1::2])
    assert queue.take(100) == queue.take(100)
    # Small messages come all at once.
    queue.send(*(b"small %d" % n for n in range(50)), capacity=100)
    queue.take(100, *queue.reply[1][1::2])
    queue.take(100, *queue.reply[1][1::2])
    assert len(queue.reply[1]) == 2 * 50


@pytest.mark.parametrize("what", ["key", "bell"])
def test_release_to_a_key_of_another_type(queue: Queue, what: str) -> None:
    """It fails without losing a message: what could not be put back is still claimed."""
    queue.send(b"1")
    queue.take(1)
    score = queue.reply[1][1]
    wrong = getattr(queue, what)
    queue.client.delete(wrong)
    queue.client.set(wrong, "something else")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        queue.release(score)
    queue.client.delete(wrong)
    assert queue.release(score) == 1
    assert queue.client.zrange(queue.key, 0, -1) == [b"1"]


def test_release_of_what_is_no_claim_any_more(queue: Queue) -> None:
    """A release that comes twice, or after the acknowledgement, doubles nothing."""
    queue.send(b"1")
    queue.take(1)
    score = queue.reply[1][1]
    assert queue.release(score) == 1
    queue.client.delete(queue.bell)
    assert queue.release(score) == 0
    assert queue.client.zrange(queue.key, 0, -1) == [b"1"]
    assert not queue.client.exists(queue.bell)


def test_take_says_whether_it_has_left_messages_behind(queue: Queue) -> None:
    """A leave takes effect once all that was sent before it has been taken."""
    queue.send(b"1", b"2")
    for wanted, is_empty in ((0, 0), (1, 0), (1, 1), (1, 1), (0, 1)):
        queue.take(wanted)
        assert queue.reply[2] == is_empty


def test_leave_fits_into_a_full_key(queue: Queue) -> None:
    """It has no capacity, and comes behind the messages."""
    assert queue.send(b"1", b"2", capacity=1) == [0, 1]
    assert queue.send(b"leave", capacity=0) == [0]
    assert queue.take(9) == [b"1", b"leave"]
