"""Decides what to ask of the server on one connection, and what its replies mean. Does no I/O."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import ConnectionError as RedisConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# How many names one command holds: it keeps the server from everybody else while it is carried out.
MOST_NAMES = 500
# What the commands of sharded Pub/Sub begin with. Each holds one name: all names of a command would
# have to be in one slot.
SHARDED = b"S"


@dataclass
class _Request:
    """A command that the server has not answered in full."""

    verb: bytes
    # The names that it has not confirmed yet, in order.
    names: deque[bytes]
    sent_at: float


class Subscriptions:
    """What one connection was asked to hear, and what it hears.

    Args:
        wanted: Tells whether a topic is to be heard now.
        topics: What is to be heard from the start.
        sharded: Whether to speak sharded Pub/Sub.
    """

    def __init__(
        self,
        wanted: Callable[[bytes], bool],
        topics: Iterable[bytes] = (),
        *,
        sharded: bool = False,
    ) -> None:
        self._wanted = wanted
        self._prefix = SHARDED if sharded else b""
        self._most_names = 1 if sharded else MOST_NAMES
        # Topics to look at before the next write, in order.
        self._changed: dict[bytes, None] = dict.fromkeys(topics)
        self._initial = set(self._changed)
        # Topics that the server refused together with others, to be asked for one by one.
        self._alone: set[bytes] = set()
        # What was subscribed to last rather than unsubscribed from.
        self._asked: set[bytes] = set()
        # How often each topic stands in a request that is not confirmed.
        self._open: Counter[bytes] = Counter()
        self._requests: deque[_Request] = deque()
        self._ping = False

    @property
    def restored(self) -> bool:
        """Whether everything that was to be heard from the start is."""
        return not self._initial

    @property
    def in_use(self) -> bool:
        """Whether anything is heard here, or on its way to be."""
        return bool(self._asked or self._requests)

    @property
    def has_changes(self) -> bool:
        """Whether there may be something to send."""
        return self._ping or bool(self._changed)

    def is_live(self, topic: bytes) -> bool:
        """Tell whether the server has confirmed that the topic is heard."""
        return topic in self._asked and not self._open[topic]

    def live(self) -> list[bytes]:
        """Return all topics that the server has confirmed."""
        return [topic for topic in self._asked if not self._open[topic]]

    def next_due(self) -> tuple[bytes, bytes | None]:
        """Return the verb and the topic, if there is one, that the server has to answer next."""
        if not self._requests:
            return b"", None
        request = self._requests[0]
        return request.verb, next(iter(request.names), None)

    def reconcile(self, topics: Iterable[bytes]) -> None:
        """Note that it may have changed whether these are wanted."""
        self._changed.update(dict.fromkeys(topics))

    def ping(self) -> None:
        """Ask for a sign of life with the next requests."""
        self._ping = True

    def is_overdue(self, since: float) -> bool:
        """Tell whether a request that was sent before `since` is not answered."""
        return bool(self._requests) and self._requests[0].sent_at < since

    def next_requests(self, now: float) -> list[tuple[bytes, ...]]:
        """Return what to send now, and note that it was sent."""
        subscribe, unsubscribe = [], []
        for topic in self._changed:
            wanted = self._wanted(topic)
            if wanted and topic not in self._asked:
                self._asked.add(topic)
                subscribe.append(topic)
            elif not wanted and topic in self._asked:
                self._asked.discard(topic)
                unsubscribe.append(topic)
            elif not self._open[topic]:
                self._initial.discard(topic)
        self._changed.clear()
        commands = [
            *self._packed(self._prefix + b"UNSUBSCRIBE", unsubscribe),
            *self._packed(self._prefix + b"SUBSCRIBE", subscribe),
        ]
        if self._ping:
            self._ping = False
            commands.append((b"PING",))
        for verb, *topics in commands:
            self._requests.append(_Request(verb, deque(topics), now))
            self._open.update(topics)
        return commands

    def confirmed(self, verb: bytes, topic: bytes) -> bool:
        """Note that the server has carried out a part of a request.

        Args:
            verb: What it says that it did: `subscribe`, `unsubscribe`.
            topic: The topic that it did this with.

        Returns:
            Whether the topic is live now.

        Raises:
            redis.exceptions.ConnectionError: It was not asked for that.
        """
        request = self._first(verb.upper())
        if not request.names or request.names.popleft() != topic:
            raise RedisConnectionError(f"The server sent an unexpected {verb!r} of {topic!r}")
        if not request.names:
            self._requests.popleft()
        self._open[topic] -= 1
        if self._open[topic]:
            return False
        del self._open[topic]
        self._initial.discard(topic)
        live = not verb.endswith(b"unsubscribe")
        # Looked at once more, whatever has happened since it was asked for.
        (self._asked.add if live else self._asked.discard)(topic)
        if self._wanted(topic) != live:
            self._changed[topic] = None
        return live

    def ended(self, topic: bytes) -> bool:
        """Note that the server has ended a subscription unasked.

        Returns:
            Whether the topic was live.

        Raises:
            redis.exceptions.ConnectionError: There was no such subscription.
        """
        if topic not in self._asked and not self._open[topic]:
            raise RedisConnectionError(f"The server ended a subscription to {topic!r} it never had")
        was_live = self.is_live(topic)
        self._asked.discard(topic)
        self._initial.discard(topic)
        return was_live

    def answered(self) -> None:
        """Note that the server has answered a ping.

        Raises:
            redis.exceptions.ConnectionError: There was none.
        """
        self._first(b"PING")
        self._requests.popleft()

    def refused(self) -> list[bytes]:
        """Note that the server has answered the oldest request with an error.

        Returns:
            The topics that can't be heard. Of several in one request each is asked for again.

        Raises:
            redis.exceptions.ConnectionError: There was no request.
        """
        if not self._requests:
            raise RedisConnectionError("The server sent an unexpected error")
        topics = list(self._requests.popleft().names)
        self._asked.difference_update(topics)
        # Without what has come to nothing.
        self._open = self._open - Counter(topics)
        if len(topics) > 1:
            self._alone.update(topics)
            self.reconcile(topics)
            return []
        self._initial.difference_update(topics)
        return topics

    def _first(self, verb: bytes) -> _Request:
        if not self._requests or self._requests[0].verb != verb:
            raise RedisConnectionError(f"The server sent an unexpected answer to {verb!r}")
        return self._requests[0]

    def _packed(self, verb: bytes, topics: list[bytes]) -> Iterator[tuple[bytes, ...]]:
        """Return commands for the topics, with many in each."""
        together = []
        for topic in topics:
            if topic in self._alone:
                self._alone.discard(topic)
                yield (verb, topic)
            else:
                together.append(topic)
        for start in range(0, len(together), self._most_names):
            yield (verb, *together[start : start + self._most_names])
