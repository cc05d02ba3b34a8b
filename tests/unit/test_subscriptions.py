"""The commands of a subscriber connection, and the meaning of the replies."""

from __future__ import annotations

import time

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from channels_redis_pubsub.protocol.subscriptions import MAX_TOPICS, Subscriptions


class Case:
    """Subscriptions, and what is wanted."""

    def __init__(self, *topics: bytes) -> None:
        self.wanted = set(topics)
        self.subscriptions = Subscriptions(self.wanted.__contains__, topics)

    def want(self, *topics: bytes) -> None:
        """Want more."""
        self.wanted.update(topics)
        self.subscriptions.reconcile(topics)

    def sent(self) -> list[tuple[bytes, ...]]:
        """Return what is sent now."""
        return self.subscriptions.next_commands(0.0)


@pytest.fixture
def case() -> Case:
    """Return a connection without topics."""
    return Case()


def test_changes_go_out_together(case: Case) -> None:
    """All topics of one moment share a command, in the order of the changes."""
    case.want(b"a", b"b")
    case.want(b"c")
    assert case.sent() == [(b"SUBSCRIBE", b"a", b"b", b"c")]
    assert case.sent() == []


def test_topic_without_members_at_its_confirmation(case: Case) -> None:
    """A topic that has no members at its confirmation is unsubscribed."""
    case.want(b"a")
    case.sent()
    case.wanted.clear()
    case.subscriptions.on_confirmation(b"subscribe", b"a")
    assert case.subscriptions.has_changes
    assert case.sent() == [(b"UNSUBSCRIBE", b"a")]


def test_large_sets_are_cut() -> None:
    """No command has more topics than `MAX_TOPICS`."""
    topics = [b"%d" % number for number in range(MAX_TOPICS * 2 + 1)]
    sent = Case(*topics).sent()
    assert [len(command) - 1 for command in sent] == [MAX_TOPICS, MAX_TOPICS, 1]
    assert [topic for _, *names in sent for topic in names] == topics


def test_ping_is_answered_in_its_turn(case: Case) -> None:
    """A probe goes out behind the changes, and its answer belongs there."""
    case.want(b"a")
    case.subscriptions.ping()
    assert case.sent() == [(b"SUBSCRIBE", b"a"), (b"PING",)]
    with pytest.raises(RedisConnectionError):
        case.subscriptions.on_pong()
    case.subscriptions.on_confirmation(b"subscribe", b"a")
    case.subscriptions.on_pong()
    with pytest.raises(RedisConnectionError):
        case.subscriptions.on_pong()


@pytest.mark.parametrize(("verb", "topic"), [(b"subscribe", b"b"), (b"unsubscribe", b"a")])
def test_unexpected_reply_is_an_error(case: Case, verb: bytes, topic: bytes) -> None:
    """A reply to something else means that the connection can't be trusted."""
    case.want(b"a")
    case.sent()
    with pytest.raises(RedisConnectionError, match="unexpected"):
        case.subscriptions.on_confirmation(verb, topic)


def test_reply_without_a_request_is_an_error(case: Case) -> None:
    """A reply is one, too, when nothing was requested."""
    assert case.subscriptions.next_reply() == (b"", None)
    with pytest.raises(RedisConnectionError, match="unexpected"):
        case.subscriptions.on_confirmation(b"unsubscribe", b"a")
    with pytest.raises(RedisConnectionError, match="unexpected"):
        case.subscriptions.on_error()
    with pytest.raises(RedisConnectionError, match="never had"):
        case.subscriptions.on_removal(b"a")


def test_overdue_goes_by_the_oldest_request(case: Case) -> None:
    """Only a request that is not answered can be overdue."""
    case.want(b"a")
    case.subscriptions.next_commands(10.0)
    case.want(b"b")
    case.subscriptions.next_commands(20.0)
    assert case.subscriptions.is_overdue(10.5)
    case.subscriptions.on_confirmation(b"subscribe", b"a")
    assert not case.subscriptions.is_overdue(10.5)
    assert case.subscriptions.is_overdue(20.5)
    case.subscriptions.on_confirmation(b"subscribe", b"b")
    assert not case.subscriptions.is_overdue(1000.0)


def test_refused_topics_take_linear_time() -> None:
    """The refusal of four times as many topics takes about four times as long."""

    def seconds(count: int) -> float:
        case = Case(*(b"%d" % number for number in range(count)))
        began = time.thread_time()
        while commands := case.sent():
            for _ in commands:
                case.subscriptions.on_error()
        return time.thread_time() - began

    few, many = (min(seconds(count) for _ in range(3)) for count in (2000, 8000))
    assert many < 9 * few
