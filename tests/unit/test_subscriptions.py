"""Commands of a subscriber connection, and replies, in any order, with a model of the server."""

from __future__ import annotations

import time
from collections import deque

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from redis.exceptions import ConnectionError as RedisConnectionError

from channels_redis_pubsub.protocol.subscriptions import MAX_AT_ONCE, MAX_TOPICS, Subscriptions
from unit.conftest import check_linear, rule_on

REFUSED = b"refused"
TOPICS = [b"a", b"b", b"c", b"d", REFUSED]
topics = st.lists(st.sampled_from(TOPICS), min_size=1, unique=True)


class Connection(RuleBasedStateMachine):
    """One connection: what is live is what the server sends, and all that is wanted gets live."""

    @initialize(wanted=st.sets(st.sampled_from(TOPICS)), sharded=st.booleans())
    def connect(self, wanted: set[bytes], sharded: bool) -> None:  # noqa: FBT001
        """Begin with topics that a connection before this one had."""
        self.wanted = set(wanted)
        self.initial = sorted(wanted)
        # Those of them that were live once, or could not be, or were no longer wanted.
        self.over: set[bytes] = set()
        self.refusing = True
        self.prefix = b"S" if sharded else b""
        self.subscriptions = Subscriptions(self.wanted, sharded=sharded)
        # The topics that the server sends, as of the replies read; and its pending requests.
        self.heard: set[bytes] = set()
        self.requests: deque[tuple[bytes, deque[bytes]]] = deque()

    @rule(topics=topics)
    def want(self, topics: list[bytes]) -> None:
        """Want topics."""
        self.wanted.update(topics)
        self.subscriptions.reconcile(topics)

    @rule(topics=topics)
    def unwant(self, topics: list[bytes]) -> None:
        """Want them no longer. Where a reply is to come, that is noticed with it."""
        self.wanted.difference_update(topics)
        self.over.update(topics)
        self.subscriptions.reconcile(set(topics) - self.asked())

    @rule()
    def ping(self) -> None:
        """Ask for a sign of life."""
        self.subscriptions.ping()

    @rule(refusing=st.booleans())
    def change_rights(self, refusing: bool) -> None:  # noqa: FBT001
        """Let the server refuse a topic, or no longer."""
        self.refusing = refusing

    @rule()
    def retry(self) -> None:
        """Request again what was refused."""
        self.subscriptions.retry_refused()

    @rule()
    def send(self) -> None:
        """Send what there is to send."""
        for verb, *names in self.subscriptions.next_commands(0.0):
            assert verb in {b"PING", self.prefix + b"SUBSCRIBE", self.prefix + b"UNSUBSCRIBE"}
            # All topics of a sharded command would have to be in one slot.
            assert len(names) <= 1 or not self.prefix
            self.requests.append((verb, deque(names)))
        assert not self.subscriptions.has_changes

    @precondition(lambda self: self.requests)
    @rule()
    def reply(self) -> None:
        """Let the server execute the next topic of the oldest request, or refuse all of it."""
        verb, names = self.requests[0]
        assert self.subscriptions.next_reply() == (verb, names[0] if names else None)
        if verb == b"PING":
            self.subscriptions.on_pong()
        elif self.refusing and verb == self.prefix + b"SUBSCRIBE" and REFUSED in names:
            refused = self.subscriptions.on_error()
            assert refused == ([REFUSED] if len(names) == 1 else [])
            self.over.update(refused)
            names.clear()
        else:
            topic = names.popleft()
            subscribed = verb == self.prefix + b"SUBSCRIBE"
            (self.heard.add if subscribed else self.heard.discard)(topic)
            live = self.subscriptions.on_confirmation(verb.lower(), topic)
            assert live == (subscribed and topic not in self.asked())
        if not names:
            self.requests.popleft()

    @precondition(lambda self: self.prefix)
    @rule_on("topic", lambda self: sorted(self.heard))
    def end(self, topic: bytes) -> None:
        """End a sharded subscription without a request, as a node does when a slot moves."""
        self.heard.discard(topic)
        self.over.add(topic)
        assert self.subscriptions.on_removal(topic) == (topic not in self.asked())
        self.subscriptions.reconcile([topic])

    def asked(self) -> set[bytes]:
        """The topics in requests that the server has not answered."""
        return {topic for _, names in self.requests for topic in names}

    @invariant()
    def live_is_what_the_server_sends(self) -> None:
        """A topic is live if the server has it and no request for it is under way."""
        live = self.heard - self.asked()
        self.over |= live
        assert set(self.subscriptions.subscribed_topics()) == live
        assert {topic for topic in TOPICS if self.subscriptions.is_subscribed(topic)} == live

    @invariant()
    def nothing_is_restored_too_early(self) -> None:
        """Topics of the start that may still be missing are waited for."""
        assert not self.subscriptions.restored or self.over.issuperset(self.initial)

    def teardown(self) -> None:
        """Let everything be sent and answered."""
        if not hasattr(self, "subscriptions"):
            return
        self.exchange()
        assert not self.subscriptions.has_changes
        assert self.heard >= self.wanted - {REFUSED}
        assert self.subscriptions.restored
        self.refusing = False
        self.subscriptions.retry_refused()
        self.exchange()
        assert self.heard == self.wanted
        assert self.subscriptions.in_use == bool(self.heard)

    def exchange(self) -> None:
        """Let all be sent and answered."""
        for _ in range(5):
            if not self.subscriptions.has_changes and not self.requests:
                break
            self.send()
            while self.requests:
                self.reply()
                self.live_is_what_the_server_sends()


TestConnection = Connection.TestCase


def test_large_sets_are_cut() -> None:
    """No command has more than `MAX_TOPICS`; the rest waits for half of the confirmations.

    The last topic goes first: `TopicDispatcher` looks for a lost one from the start.
    """
    wanted = [b"%d" % number for number in range(MAX_AT_ONCE + 1)]
    topics = wanted[::-1]
    subscriptions = Subscriptions(dict.fromkeys(wanted).keys())
    sent = subscriptions.next_commands(0.0)
    assert [len(command) - 1 for command in sent] == [MAX_TOPICS] * (MAX_AT_ONCE // MAX_TOPICS)
    for topic in topics[: MAX_AT_ONCE // 2]:
        assert not subscriptions.has_changes
        subscriptions.on_confirmation(b"subscribe", topic)
    sent += subscriptions.next_commands(0.0)
    assert [topic for _, *names in sent for topic in names] == topics


def test_unexpected_reply_is_an_error() -> None:
    """A reply to something else, or to nothing, means that the connection can't be trusted."""
    subscriptions = Subscriptions({b"a"})
    subscriptions.next_commands(0.0)
    for verb, topic in ((b"subscribe", b"b"), (b"unsubscribe", b"a")):
        with pytest.raises(RedisConnectionError, match="unexpected"):
            subscriptions.on_confirmation(verb, topic)
    subscriptions.on_error()
    with pytest.raises(RedisConnectionError, match="unexpected"):
        subscriptions.on_error()
    with pytest.raises(RedisConnectionError, match="never had"):
        subscriptions.on_removal(b"c")


def test_refused_topics_take_linear_time() -> None:
    """The refusal of four times as many topics takes about four times as long."""

    def seconds(count: int) -> float:
        subscriptions = Subscriptions(dict.fromkeys(b"%d" % n for n in range(count)).keys())
        began = time.thread_time()
        while commands := subscriptions.next_commands(0.0):
            for _ in commands:
                subscriptions.on_error()
        return time.thread_time() - began

    check_linear(seconds, 2000)
