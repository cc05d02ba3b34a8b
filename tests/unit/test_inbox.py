"""The commands of a reader for its message key, and its handling of replies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from channels_redis_queue._shared.clock import monotonic
from channels_redis_queue._shared.ops.statistics import Counters
from channels_redis_queue.keys import Keys
from channels_redis_queue.protocol import inbox
from channels_redis_queue.protocol.inbox import MIN_CLAIMS_TTL, Claim, Dispatcher, Inbox

if TYPE_CHECKING:
    from channels_redis_queue.protocol.inbox import AckTracker


class Reader(Dispatcher):
    """An inbox that notes what is to be delivered, and a server that answers as a test says."""

    channel = f"specific.{'c' * 32}!"

    def __init__(self, expiry: int = 60) -> None:
        self.seen: list[str] = []
        self.lifetimes: list[float] = []
        self.queue = Keys("asgi").messages(self.channel)
        self.inbox = Inbox(self.queue, expiry, self, Counters())

    def prefetch_count(self) -> int:
        """A number."""
        return 10

    def dispatch(self, claim: Claim, acks: AckTracker, lifetime: float) -> None:
        """Note a message, and acknowledge it."""
        acks.acknowledge(claim)
        self.seen.append(claim.message.decode())
        self.lifetimes.append(lifetime)

    def take(self) -> list[Any]:
        """The arguments of a take: the numbers, and the scores that it acknowledges."""
        (command, _), _ = self.inbox.take(10)
        assert command[3] == self.queue.key
        return list(command[6:])

    def taken(self, claims: str = "", now: bytes = b"1000") -> list[str]:
        """Let a take be answered with messages and scores; return what was delivered for it."""
        before = len(self.seen)
        self.take()
        self.inbox.on_take_reply([now, 1])
        self.inbox.on_claims_reply(claims.encode().split())
        return self.seen[before:]


def test_lifetime() -> None:
    """A message lives `expiry` seconds from when it was sent, by the server's clock."""
    reader = Reader()
    assert reader.taken("old 939.9 late 945 new 1000 ahead 1500") == ["late", "new", "ahead"]
    assert reader.lifetimes == pytest.approx([5, 60, 60])
    assert reader.take() == [10, 60, 60, b"939.9", b"945", b"1000", b"1500"]
    assert reader.inbox._counters.expired == 1


def test_releases_what_was_given_back() -> None:
    """Until a reply comes, each time with the next number; then what a take returns is new."""
    reader = Reader()
    claim = Claim(b"a", b"990.1")
    reader.inbox.acks.admit(claim)
    assert reader.inbox.release() == []
    reader.inbox.acks.requeue(claim)
    handlers = []
    for number in (1, 2):
        [(command, released)] = reader.inbox.release()
        assert command[-4:] == (60, MIN_CLAIMS_TTL, number, b"990.1")
        handlers.append(released)
    handlers[-1](1)
    assert reader.inbox.release() == []
    assert reader.taken("a 990.1") == ["a"]


def test_release_that_finds_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Messages that can't go back are counted and logged, unless a copy may have done it before."""
    reader = Reader()
    for copies, reply in ((1, None), (2, 0), (1, 1)):
        for claim in (Claim(b"a", b"990.1"), Claim(b"b", b"990.2")):
            assert reader.inbox.acks.admit(claim)
            reader.inbox.acks.requeue(claim)
        assert not caplog.records
        released = [reader.inbox.release()[0][1] for _ in range(copies)][-1]
        released(reply)
        assert reader.inbox.release() == []
    [record] = caplog.records
    assert record.getMessage().startswith("1 messages of specific.")
    assert reader.inbox._counters.expired == 1


def test_claims_live_as_long_as_messages() -> None:
    """A process that is held up finds its claims again, as long as they have not expired."""
    for expiry, lives in ((1, MIN_CLAIMS_TTL), (60, 60), (3600, 3600)):
        assert Reader(expiry).take() == [10, expiry, lives]


def test_reply_that_lay_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is discarded: its messages may have expired. Another take returns their age.

    A clock that was set looks the same, and costs one take more.
    """
    reader = Reader()
    now = monotonic()
    monkeypatch.setattr(inbox, "monotonic", lambda: now)
    assert reader.taken("a 990.1") == ["a"]
    now += 30
    assert reader.taken("b 990.2", now=b"1000.5") == []
    assert reader.inbox.must_take_again
    assert reader.taken("b 990.2", now=b"1030") == ["b"]
    assert not reader.inbox.must_take_again
    assert reader.lifetimes == pytest.approx([50.1, 20.2])
    assert reader.taken(now=b"1001") == []  # the server's clock was set back
    assert reader.inbox.must_take_again
    assert reader.taken("c 990.3", now=b"1001") == ["c"]
    assert reader.taken("d 990.4", now=b"1001") == ["d"]


@pytest.mark.parametrize(
    ("handler", "replies"),
    [
        ("on_wait_reply", [7, b"OK", [b"1"]]),
        ("on_take_reply", [7, b"OK", [], [b"1"], [b"x", 1], [b"1", [b"left"]], None]),
        ("on_claims_reply", [7, b"OK", [b"a", b"x"], [b"a", []], [[b"a"]], None]),
    ],
)
def test_reply_to_something_else(handler: str, replies: list[object]) -> None:
    """The connection counts as broken; what was taken stays in the claims."""
    reader = Reader()
    for reply in replies:
        reader.take()
        with pytest.raises(RedisConnectionError, match="not asked for"):
            getattr(reader.inbox, handler)(reply)
    assert reader.taken("a 990.1") == ["a"]
