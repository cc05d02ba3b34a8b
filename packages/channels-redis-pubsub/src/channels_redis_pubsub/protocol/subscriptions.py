"""Decide which commands to send on a subscriber connection, and what its replies mean."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from redis.exceptions import ConnectionError as RedisConnectionError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

# The topics in one command: the server does nothing else while it executes it.
MAX_TOPICS = 500
# The topics that are requested at once; others, when half of them are confirmed. So the event loop
# reads no more replies than that without doing anything else.
MAX_AT_ONCE = 1000
# Prefix of the commands of sharded Pub/Sub. Each names one topic, as all topics of a command would
# have to be in one slot.
SHARDED = b"S"


@dataclass
class _Request:
    """A command whose replies are not complete."""

    verb: bytes
    # The topics that are not confirmed yet, in order.
    topics: deque[bytes]
    sent_at: float


class Subscriptions:
    """The requested and the confirmed subscriptions of one connection.

    Args:
        wanted: The topics that there should be subscriptions to. `reconcile` follows its changes.
        sharded: Use sharded Pub/Sub.
    """

    def __init__(self, wanted: Collection[bytes], *, sharded: bool = False) -> None:
        self._wanted = wanted
        self._prefix = SHARDED if sharded else b""
        # One after a refusal, which must not affect others.
        self._max_topics = 1 if sharded else MAX_TOPICS
        # Topics to reconcile before the next write: first these, from the end, so that a search of
        # the same set from its start soon finds one that is still lost; then others in order.
        self._first = list(wanted)
        self._changed: dict[bytes, None] = {}
        # Topics that were refused.
        self._refused: dict[bytes, None] = {}
        # Topics whose latest command is a SUBSCRIBE.
        self._requested: set[bytes] = set()
        # Topics in requests that are not answered; no topic is in two of them.
        self._unconfirmed: set[bytes] = set()
        self._requests: deque[_Request] = deque()
        # The number of requests that were answered, and of those that include all first topics.
        self.answered = self._answers_to_first = 0
        self._ping = False

    @property
    def restored(self) -> bool:
        """True once all of the first topics are confirmed."""
        return not self._first and self.answered >= self._answers_to_first

    @property
    def in_use(self) -> bool:
        """True if there is any subscription, a request on its way, or a refused topic."""
        return bool(self._requested or self._requests or self._refused)

    @property
    def has_changes(self) -> bool:
        """True if there may be commands to send now."""
        return self._ping or (bool(self._first or self._changed) and self._has_room)

    def is_subscribed(self, topic: bytes) -> bool:
        """Return whether the server has confirmed the subscription to the topic."""
        return topic in self._requested and topic not in self._unconfirmed

    def subscribed_topics(self) -> set[bytes]:
        """Return all topics whose subscriptions are confirmed."""
        return self._requested.difference(self._unconfirmed)

    def next_reply(self) -> tuple[bytes, bytes | None]:
        """Return the verb and the topic, if any, that the next reply should answer."""
        if not self._requests:
            return b"", None
        request = self._requests[0]
        return request.verb, next(iter(request.topics), None)

    def reconcile(self, topics: Iterable[bytes]) -> None:
        """Mark these topics for reconciliation with what should be subscribed to."""
        self._changed.update(dict.fromkeys(topics))

    def ping(self) -> None:
        """Add a PING to the next commands."""
        self._ping = True

    def retry_refused(self) -> None:
        """Request the next of the refused topics again, at most as many as a command may name."""
        topics = list(islice(self._refused, MAX_TOPICS))
        for topic in topics:
            # The next time it is the turn of others.
            self._refused[topic] = self._refused.pop(topic)
        self.reconcile(topics)

    def is_overdue(self, since: float) -> bool:
        """Return whether a request sent before `since` is unanswered."""
        return bool(self._requests) and self._requests[0].sent_at < since

    def next_commands(self, now: float) -> list[tuple[bytes, ...]]:
        """Return the commands to send now, and expect their replies.

        There may be more: call it again after other work, while `has_changes`.
        """
        subscribe: list[bytes] = []
        unsubscribe: list[bytes] = []
        restores = bool(self._first)
        for topic in self._take(MAX_AT_ONCE if self._has_room else 0):
            should_subscribe = topic in self._wanted
            if not should_subscribe:
                self._refused.pop(topic, None)
            if topic in self._unconfirmed:
                continue  # compared again with the answer
            if should_subscribe and topic not in self._requested:
                self._requested.add(topic)
                subscribe.append(topic)
            elif not should_subscribe and topic in self._requested:
                self._requested.discard(topic)
                unsubscribe.append(topic)
        commands = [
            *self._commands(self._prefix + b"UNSUBSCRIBE", unsubscribe),
            *self._commands(self._prefix + b"SUBSCRIBE", subscribe),
        ]
        if self._ping:
            self._ping = False
            commands.append((b"PING",))
        for verb, *topics in commands:
            self._requests.append(_Request(verb, deque(topics), now))
            self._unconfirmed.update(topics)
        if restores:
            self._answers_to_first = self.answered + len(self._requests)
        return commands

    def on_confirmation(self, verb: bytes, topic: bytes) -> bool:
        """Match a confirmation with the oldest request.

        Args:
            verb: `subscribe` or `unsubscribe`, as the server writes it.
            topic: The topic.

        Returns:
            True if the topic is subscribed to now.

        Raises:
            redis.exceptions.ConnectionError: It was not requested.
        """
        topics = self._oldest(verb.upper()).topics
        if not topics or topics.popleft() != topic:
            raise RedisConnectionError(f"The server sent an unexpected {verb!r} of {topic!r}")
        if not topics:
            self._end_request()
        self._unconfirmed.discard(topic)
        subscribed = not verb.endswith(b"unsubscribe")
        # Compared once more, whatever has happened since the request.
        if (topic in self._wanted) != subscribed:
            self._changed[topic] = None
        if topic in self._refused and subscribed:
            # The others may be accepted by now, too.
            del self._refused[topic]
            self.reconcile(self._refused)
            self._refused.clear()
        return subscribed

    def on_removal(self, topic: bytes) -> bool:
        """Remove a subscription that the server has ended by itself.

        Returns:
            True if it was confirmed.

        Raises:
            redis.exceptions.ConnectionError: There was no such subscription.
        """
        if topic in self._unconfirmed:
            return False
        if topic not in self._requested:
            raise RedisConnectionError(f"The server ended a subscription to {topic!r} it never had")
        self._requested.discard(topic)
        return True

    def on_pong(self) -> None:
        """Match a PONG with the oldest request.

        Raises:
            redis.exceptions.ConnectionError: It was not requested.
        """
        self._oldest(b"PING")
        self._end_request()

    def on_error(self) -> list[bytes]:
        """Match an error with the oldest request.

        Returns:
            The topics that are refused, until `retry_refused`. Several of one request are
            requested again one by one.

        Raises:
            redis.exceptions.ConnectionError: There was no request.
        """
        if not self._requests:
            raise RedisConnectionError("The server sent an unexpected error")
        request = self._end_request()
        topics = list(request.topics)
        self._requested.difference_update(topics)
        self._unconfirmed.difference_update(topics)
        self._max_topics = 1
        if len(topics) > 1:
            self._first += topics
            return []
        if request.verb.endswith(b"SUBSCRIBE"):
            self._refused.update(dict.fromkeys(one for one in topics if one in self._wanted))
        return topics

    @property
    def _has_room(self) -> bool:
        return len(self._unconfirmed) <= MAX_AT_ONCE // 2

    def _take(self, count: int) -> dict[bytes, None]:
        topics = [self._first.pop() for _ in range(min(count, len(self._first)))]
        topics += islice(self._changed, count - len(topics))
        taken = dict.fromkeys(topics)
        for topic in taken:
            self._changed.pop(topic, None)
        return taken

    def _end_request(self) -> _Request:
        self.answered += 1
        return self._requests.popleft()

    def _oldest(self, verb: bytes) -> _Request:
        if not self._requests or self._requests[0].verb != verb:
            raise RedisConnectionError(f"The server sent an unexpected answer to {verb!r}")
        return self._requests[0]

    def _commands(self, verb: bytes, topics: list[bytes]) -> Iterator[tuple[bytes, ...]]:
        for start in range(0, len(topics), self._max_topics):
            yield (verb, *topics[start : start + self._max_topics])
