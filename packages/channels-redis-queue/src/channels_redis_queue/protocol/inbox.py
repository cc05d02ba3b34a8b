"""The protocol between one reader and its message key: commands, replies, claims. Does no I/O."""

from __future__ import annotations

import logging
import math
import secrets
from collections import deque
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from redis.exceptions import ConnectionError as RedisConnectionError

from .. import scripts
from .._shared.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._shared.ops.statistics import Counters
    from .._shared.transport.commands import Command
    from ..keys import QueueKeys

# A command, and the handler of its reply.
Request: TypeAlias = "tuple[Command, Callable[[Any], None]]"

logger = logging.getLogger(__name__.partition(".")[0])

# Seconds of one blocking wait for a process's messages, and for those of a general channel: one
# without a bell, which a channels_redis process sends, can wait that long. Redis 5 takes whole
# seconds only.
BLOCK_SECONDS = 5
GENERAL_BLOCK_SECONDS = 2
# Minimum seconds that claims outlive their last take: longer than a wait and the reconnecting after
# it. Otherwise they live as long as the messages.
MIN_CLAIMS_TTL = 60
# Seconds that a reply may lie unread before another take returns the age of its messages.
MAX_REPLY_DELAY = 1.0


class Claim(NamedTuple):
    """A message that a reader has taken, with its score as the server wrote it."""

    message: bytes
    score: bytes


class AckTracker:
    """The claims that one reader has delivered, also across its reconnects.

    A take returns every claim that is not acknowledged yet, and a failover can bring back those
    that were. So each claim is remembered until the server has confirmed its end, and
    acknowledged ones for a while longer.

    Args:
        remembered: The number of acknowledged claims to remember.
    """

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        # By hash, not message: a thousand of a megabyte each would be a gigabyte. True once it is
        # acknowledged.
        self._delivered: dict[int, bool] = {}
        self._acknowledged: dict[int, None] = {}
        self._pending_acks: deque[tuple[int, bytes]] = deque()
        # The scores of the claims to put back.
        self.requeues: list[bytes] = []

    def admit(self, claim: Claim) -> bool:
        """Return whether to deliver the claim now, and remember it."""
        key = hash(claim)
        if key in self._delivered:
            return False
        if key in self._acknowledged:
            # The acknowledgement did not survive a failover.
            self._pending_acks.append((key, claim.score))
            return False
        self._delivered[key] = False
        return True

    def acknowledge(self, claim: Claim) -> None:
        """Acknowledge a claim with the next take."""
        key = hash(claim)
        self._delivered[key] = True
        self._pending_acks.append((key, claim.score))

    def requeue(self, claim: Claim) -> None:
        """Put a claim back into the queue with the next release, for another reader.

        No take may be under way: it would return the claim as a new one.
        """
        del self._delivered[hash(claim)]
        self.requeues.append(claim.score)

    def pending_acks(self) -> list[bytes]:
        """Return the scores to acknowledge with the next take."""
        return [score for _, score in self._pending_acks]

    @property
    def has_open_claims(self) -> bool:
        """True if a claim may still be acknowledged."""
        return not all(self._delivered.values())

    def forget_delivered(self) -> None:
        """Forget what was delivered and not received: the next take delivers it again."""
        self._delivered = {key: True for key, is_done in self._delivered.items() if is_done}

    def confirm_acks(self, count: int) -> None:
        """Remember the first `count` pending acknowledgements as settled: a take was answered."""
        for _ in range(count):
            key, _score = self._pending_acks.popleft()
            self._delivered.pop(key, None)
            self._acknowledged[key] = None
        while len(self._acknowledged) > self._remembered:
            del self._acknowledged[next(iter(self._acknowledged))]


class Dispatcher:
    """The destination of the messages of one message key."""

    channel: str
    # Falsy unless leaves may wait for the messages sent before them.
    leaves: Mapping[Any, Any] = MappingProxyType({})

    def prefetch_count(self) -> int:
        """Return the number of messages to take now."""
        raise NotImplementedError

    def is_unused(self) -> bool:
        """Return whether nothing in this process needs messages, though some may be taken."""
        return False

    def dispatch(self, claim: Claim, acks: AckTracker, lifetime: float) -> None:
        """Dispatch a message that expires in `lifetime` seconds."""
        raise NotImplementedError

    def apply_leaves(self, until: float) -> None:
        """End the memberships whose leaves precede a time of the server."""

    def on_receive_resumed(self) -> None:
        """Take up work again: a call waits, shortly after none did."""

    def on_receive_stopped(self, acks: AckTracker) -> None:
        """Requeue what one reader has prefetched: no call waits any more."""

    def abandon(self) -> None:
        """Forget the calls that wait, and what they were given: their event loop was closed."""


class Inbox:
    """The commands that a reader sends for its message key, and the meaning of their replies.

    It outlives connections and event loops: what one has taken, the next one's first take returns.

    Args:
        queue: The keys.
        expiry: Seconds that a message lives.
        dispatcher: Gets the messages.
        counters: Count expired messages.
    """

    def __init__(
        self, queue: QueueKeys, expiry: int, dispatcher: Dispatcher, counters: Counters
    ) -> None:
        self._counters = counters
        reader = secrets.token_hex(8)
        self._queue = queue
        self.key = queue.key
        self._claims = queue.claims(reader)
        # The key that ends a wait without a message.
        self.nudge = queue.nudge(reader)
        self._expiry = expiry
        self._claims_ttl = max(MIN_CLAIMS_TTL, expiry)
        self.dispatcher = dispatcher
        self.acks = AckTracker(max(1000, 4 * dispatcher.prefetch_count()))
        # True once a take was sent: the claims may hold messages.
        self.has_taken = False
        # The number of acknowledgements in the latest take.
        self._acks_in_take = 0
        # The number of releases sent, and the number of the latest that was answered.
        self._releases = self._answered_release = 0
        # The smallest difference seen between this process's clock and the server time in a reply.
        self._clock_lead = math.inf
        # Of the latest take: the server's time, and whether it left the key empty.
        self._taken_at = 0.0
        self._left_empty = False
        # True if another take must follow the latest at once.
        self.must_take_again = False
        # A message that a wait has popped from the message key itself: it is in no claims.
        self._popped: list[Claim] = []
        self.wait_timed_out = False
        # The longest time that a wait may take.
        is_general = "!" not in dispatcher.channel
        self.block_seconds = GENERAL_BLOCK_SECONDS if is_general else BLOCK_SECONDS
        # Those that are read, all of them sorted sets.
        self.keys = (queue.key, queue.bell, self.nudge, self._claims)

    def wait_command(self) -> Command:
        """Return the command that blocks until there is something to take."""
        waits = [self.nudge, self._queue.bell]
        if "!" in self.dispatcher.channel:
            # This key has no other reader, and channels_redis rings no bell. With a general
            # channel's key here, a second reader would take messages outside of the claims.
            waits.append(self._queue.key)
        return ("BZPOPMIN", *waits, self.block_seconds)

    def on_wait_reply(self, reply: Any) -> None:
        """Keep the message that the wait has popped, if it came from the message key itself."""
        try:
            key, message, score = reply or (None, b"", b"")
        except (TypeError, ValueError) as error:
            raise _no_answer(reply) from error
        self.wait_timed_out = reply is None
        if key == self._queue.key.encode():
            self._popped.append(Claim(message, _score(score)))

    def take(self, count: int, *, as_source: bool = False) -> tuple[Request, Request]:
        """Return commands that take messages and acknowledge those received, and their handlers.

        The second reads the claims: a script that returned them would copy each three times.

        Args:
            count: The number of messages to take.
            as_source: Send the script itself, so that the server needn't know it.
        """
        self.has_taken = True
        acks = self.acks.pending_acks()
        self._acks_in_take = len(acks)
        names = (self._queue.key, self._queue.bell, self._claims)
        call = scripts.TAKE.call_with_source if as_source else scripts.TAKE.call
        move = call(names, count, self._expiry, self._claims_ttl, *acks)
        # The number of the latest release has a score below 0.
        read = ("ZRANGEBYSCORE", self._claims, 0, "+inf", "WITHSCORES")
        return (move, self.on_take_reply), (read, self.on_claims_reply)

    def on_take_reply(self, reply: Any) -> None:
        """Keep the time of a take, and whether it left the key empty: the claims follow."""
        try:
            at, is_empty = reply
            self._taken_at, self._left_empty = float(str(at, "ascii")), int(is_empty) > 0
        except (TypeError, ValueError, LookupError) as error:
            raise _no_answer(reply) from error

    def on_claims_reply(self, reply: Any) -> None:
        """Dispatch the new messages of a take, and apply leaves between them, in order."""
        now = self._taken_at
        try:
            if not isinstance(reply, list):
                raise TypeError  # noqa: TRY301
            if reply and isinstance(reply[0], list):  # protocol 3
                taken = [Claim(message, _score(score)) for message, score in reply]
            else:
                taken = [*map(Claim, reply[::2], reply[1::2])]
            claims = [(claim, float(claim.score)) for claim in [*self._popped, *taken]]
        except (TypeError, ValueError, LookupError) as error:
            raise _no_answer(reply) from error
        if self._is_stale(now):
            # It lay unread while the event loop was busy. Another take returns all of it again.
            self.must_take_again = True
            return
        # Not before the server has answered.
        self.acks.confirm_acks(self._acks_in_take)
        dispatcher = self.dispatcher
        self._popped.clear()
        for claim, sent in claims:
            if dispatcher.leaves:
                dispatcher.apply_leaves(sent)
            if not self.acks.admit(claim):
                continue
            lifetime = min(sent - now, 0) + self._expiry
            if lifetime > 0:
                dispatcher.dispatch(claim, self.acks, lifetime)
            else:
                self._counters.expired += 1
                self.acks.acknowledge(claim)
        if self._left_empty and dispatcher.leaves:
            dispatcher.apply_leaves(now)
        self.must_take_again = False

    def release(self) -> list[Request]:
        """Return the command that puts unreceived messages back, if there are any.

        Send it before a take. If its reply is lost, send the next one in its place.
        """
        scores = self.acks.requeues
        if not scores:
            return []
        self._releases += 1
        names = (self._queue.key, self._queue.bell, self._claims)
        command = scripts.RELEASE.call_with_source(
            names, self._expiry, self._claims_ttl, self._releases, *scores
        )
        return [(command, partial(self._on_release_reply, len(scores), self._releases))]

    def abandon(self) -> None:
        """Deliver again what calls were given that have not run: their event loop was closed."""
        self.dispatcher.abandon()
        self.acks.forget_delivered()

    def cleanup_command(self) -> Command | None:
        """Return the command that removes what settled claims leave behind, if there is any."""
        if not self._releases:
            return None
        return ("ZREMRANGEBYSCORE", self._claims, "-inf", "(0")

    def _on_release_reply(self, count: int, number: int, reply: Any) -> None:
        del self.acks.requeues[:count]
        # Otherwise an earlier one, whose reply was lost, may have put them back; or a copy of this
        # one, if the reply is None.
        is_first = number == self._answered_release + 1 and reply is not None
        self._answered_release = number
        missing = count - int(reply) if is_first else 0
        if missing:
            self._counters.expired += missing
            logger.warning(
                "%d messages of %s could not go back to the queue: they have expired, or the "
                "server has lost them",
                missing,
                self.dispatcher.channel,
            )

    def _is_stale(self, now: float) -> bool:
        """Return whether a reply was written so long ago that its messages may have expired.

        Clocks don't matter: one that was set only costs another take.
        """
        lead = monotonic() - now
        if self.must_take_again or lead < self._clock_lead:
            self._clock_lead = lead
        return lead - self._clock_lead > min(MAX_REPLY_DELAY, self._expiry / 10)


def _score(score: bytes | float) -> bytes:
    """Return a score as text; protocol 3 has floats."""
    return score if isinstance(score, bytes) else repr(score).encode()


def _no_answer(reply: Any) -> RedisConnectionError:
    """Return the error for a reply to something else: the order of replies is lost."""
    return RedisConnectionError(f"the server sent what it was not asked for: {reply!r:.100}")
