"""Decides what to ask of a message key, and what its replies mean. Does no I/O."""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import scripts
from .._shared.ops.statistics import Counters
from .acks import AckTracker, Claim

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._shared.transport.commands import Command
    from ..keys import QueueKeys
    from .dispatch import Dispatcher

logger = logging.getLogger(__name__.partition(".")[0])

# Seconds of one blocking wait: a general channel's message that nobody rang for lies that long.
BLOCK = 5
# The same for a while after such a message: its sender is a channels_redis process, and will send
# more. Redis 5 takes whole seconds only.
BLOCK_AFTER_UNRUNG = 1
UNRUNG_MEMORY = 600
# Seconds that claims outlive their last take at least: longer than a wait and the reconnecting
# after it. Otherwise they live as long as the messages.
CLAIMS_LIVE = 60
# Seconds by which a reply may be late, before it is asked again how old its messages are.
LATE = 1.0


class Inbox:
    """What one reader asks of its message key, and does with what comes.

    Args:
        beside: The keys.
        expiry: Seconds that a message lives.
        delivery: Who gets what.
        counters: Count messages that have expired.
    """

    def __init__(
        self, beside: QueueKeys, expiry: int, delivery: Dispatcher, counters: Counters | None = None
    ) -> None:
        self._counters = counters or Counters()
        reader = secrets.token_hex(8)
        self._beside = beside
        self.key = beside.key
        self._claims = beside.claims(reader)
        # The key by which the reader is woken without a message.
        self.nudge = beside.nudge(reader)
        self._expiry = expiry
        self._claims_live = max(CLAIMS_LIVE, expiry)
        self.delivery = delivery
        self._acks = AckTracker(max(1000, 4 * delivery.wanted()))
        # Leaves that were carried out, to be acknowledged with the next take.
        self._leaves: list[bytes] = []
        # How many claims and leaves the take under way acknowledges, and how many had gone back.
        self._asked = (0, 0, 0)
        # How many releases were sent, and the number of the latest that was answered.
        self._releases = self._answered = 0
        # The least by which this process's clock was ahead of the server's when a reply was read.
        self._ahead = math.inf
        # Whether the latest take has left something open, so that another one is to follow at once.
        self.again = False
        # A message that a wait popped from the message key itself: it is in no claims.
        self._popped: list[Claim] = []
        # Whether the latest wait ended in vain.
        self.in_vain = False
        # Whether what the next take brings was waited for in vain.
        self._unrung = False
        self._unrung_until = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """The keys that are read: sorted sets all of them."""
        beside = self._beside
        return beside.key, beside.bell, self.nudge, self._claims, beside.leaves

    @property
    def block(self) -> int:
        """The seconds that a wait may take."""
        return BLOCK_AFTER_UNRUNG if self._unrung_until > time.monotonic() else BLOCK

    def wait(self) -> Command:
        """Return the command that waits for something to take."""
        waits = [self.nudge, self._beside.bell]
        if "!" in self.delivery.channel:
            # This key has no other reader, and channels_redis rings no bell. With a general
            # channel's key here, a second reader would take messages outside of the claims.
            waits.append(self._beside.key)
        return ("BZPOPMIN", *waits, self.block)

    def waited(self, reply: Any) -> None:
        """Keep the message that the wait has popped from the message key itself, if it did."""
        self.in_vain = self._unrung = reply is None
        if reply is not None and reply[0] == self._beside.key.encode():
            score = reply[2]
            score = score if isinstance(score, bytes) else repr(score).encode()
            self._popped.append(Claim(reply[1], score))

    def take(self, wanted: int, *, as_source: bool = False) -> Command:
        """Return the command that takes messages, and acknowledges what was handed over.

        Args:
            wanted: How many messages to take.
            as_source: Whether the server may not know the script; after this it does.
        """
        due = self._acks.due()
        self._asked = len(due), len(self._leaves), self._acks.went_back
        names = (self._beside.key, self._beside.bell, self._claims, self._beside.leaves)
        call = scripts.TAKE.call_with_source if as_source else scripts.TAKE.call
        return call(names, wanted, self._expiry, self._claims_live, len(due), *due, *self._leaves)

    def took(self, reply: Any) -> None:
        """Hand out what is new in the reply to a take, in order."""
        now = float(reply[0])
        if self._is_late(now):
            # It lay unread while the event loop was busy. All that it says is said again.
            self.again = True
            return
        # Forgotten now that the server has answered, not before.
        claims_due, leaves_due, went_back = self._asked
        self._acks.settled(claims_due, went_back)
        del self._leaves[:leaves_due]
        claims = [*self._popped, *map(Claim, reply[1][::2], reply[1][1::2])]
        self._popped.clear()
        leaves = deque(_pairs(reply[2]))
        for claim in claims:
            sent = float(claim.score)
            while leaves and float(leaves[0][1]) <= sent:
                self._leave(leaves.popleft()[0])
            if self._acks.admit(claim):
                self._hand_out(claim, min(sent - now, 0) + self._expiry)
        for leave, _ in leaves:
            self._leave(leave)
        self._unrung = False
        self.again = self._acks.doubtful

    def release(self) -> tuple[Command, Callable[[Any], None]] | None:
        """Return the command that gives back what no call here waits for, and its reply's handler.

        One at a time: the next one goes out when this one is known to have been carried out, or
        not to have been, and then takes its place.
        """
        scores = self._acks.returns()
        if not scores:
            return None
        self._releases += 1
        names = (self._beside.key, self._beside.bell, self._claims)
        command = scripts.RELEASE.call(
            names, self._expiry, self._claims_live, self._releases, *scores
        )
        return command, partial(self._released, len(scores), self._releases)

    def farewell(self) -> Command | None:
        """Return the command that removes what is left when all claims are settled, if it is."""
        if not self._releases:
            return None
        return ("ZREMRANGEBYSCORE", self._claims, "-inf", "(0")

    @property
    def has_returns(self) -> bool:
        """True if there is something to give back."""
        return self._acks.has_returns

    def _released(self, count: int, number: int, reply: Any) -> None:
        self._acks.returned(count)
        # Otherwise one before it, whose reply was lost, may have done it; or a copy of its own, if
        # the reply is None.
        is_first = number == self._answered + 1 and reply is not None
        self._answered = number
        missing = count - int(reply) if is_first else 0
        if missing:
            self._counters.expired += missing
            logger.warning(
                "%d messages of %s could not go back to the queue: they have expired, or the "
                "server has lost them",
                missing,
                self.delivery.channel,
            )

    def _is_late(self, now: float) -> bool:
        """Tell whether a reply was written some time before it was read.

        Messages may have expired since. Clocks don't matter: if one was set, another take tells.
        """
        ahead = time.monotonic() - now
        if self.again or ahead < self._ahead:
            self._ahead = ahead
        return ahead - self._ahead > min(LATE, self._expiry / 10)

    def _hand_out(self, claim: Claim, lifetime: float) -> None:
        if self._unrung:
            self._unrung_until = time.monotonic() + UNRUNG_MEMORY
        if lifetime > 0:
            self.delivery.message(claim, self._acks, lifetime)
        else:
            self._counters.expired += 1
            self._acks.acknowledge(claim)

    def _leave(self, leave: bytes) -> None:
        self.delivery.leave(leave)
        self._leaves.append(leave)


def _pairs(flat: list[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(flat[::2], flat[1::2], strict=True))
