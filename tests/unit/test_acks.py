"""The claims of a reader: which are new, which to acknowledge, which to requeue."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest

from channels_redis_queue.protocol.inbox import AckTracker, Claim

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = Claim(b"first", b"1700000000.0000011")
SECOND = Claim(b"second", b"1700000000.0000021")


def test_claim_is_handed_out_once() -> None:
    """A take returns every claim that is not acknowledged yet; only the new ones are handed out."""
    acks = AckTracker(remembered=10)
    assert acks.admit(FIRST)
    assert not acks.admit(FIRST)
    assert acks.admit(SECOND)


def test_equal_messages_with_other_scores_are_others() -> None:
    """Messages may be equal byte for byte, and scores may be: only both together are one claim."""
    acks = AckTracker(remembered=10)
    assert acks.admit(FIRST)
    assert acks.admit(Claim(FIRST.message, SECOND.score))
    assert acks.admit(Claim(SECOND.message, FIRST.score))


def test_acknowledgement_is_due_until_the_server_has_answered() -> None:
    """Acknowledgements of a take whose reply was lost are sent again, with new ones."""
    acks = AckTracker(remembered=10)
    for claim in (FIRST, SECOND):
        acks.admit(claim)
    acks.acknowledge(FIRST)
    sent = acks.pending_acks()
    assert sent == [FIRST.score]
    acks.acknowledge(SECOND)  # while that take is under way
    assert acks.pending_acks() == [FIRST.score, SECOND.score]
    acks.confirm_take(len(sent), 0)
    assert acks.pending_acks() == [SECOND.score]


@pytest.mark.parametrize("note", [AckTracker.acknowledge, AckTracker.requeue])
def test_other_threads_take_note_meanwhile(note: Callable[[AckTracker, Claim], None]) -> None:
    """A consumer of another thread's loop may open a message, or leave, at any moment."""
    acks = AckTracker(remembered=10)
    claims = [Claim(b"message", b"%d" % number) for number in range(20_000)]

    def work() -> None:
        for claim in claims:
            note(acks, claim)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            acks.pending_acks()
            acks.pending_requeues()
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert (acks.pending_acks() or acks.pending_requeues()) == [claim.score for claim in claims]


def test_take_that_was_under_way_while_a_claim_went_back() -> None:
    """The next take shows that it has taken the message again, or returns the old claim."""
    acks = AckTracker(remembered=10)
    acks.admit(FIRST)
    acks.requeue(FIRST)
    under_way = acks.confirmed_requeues
    acks.confirm_requeues(1)
    acks.confirm_take(0, under_way)
    assert not acks.ambiguous
    assert not acks.admit(FIRST)
    assert acks.ambiguous
    acks.confirm_take(0, acks.confirmed_requeues)
    assert not acks.ambiguous
    assert acks.admit(FIRST)


def test_only_the_latest_are_remembered() -> None:
    """The memory of acknowledged claims is bounded: the oldest one is forgotten."""
    acks = AckTracker(remembered=2)
    claims = [Claim(b"%d" % n, b"%d" % n) for n in range(3)]
    for claim in claims:
        assert acks.admit(claim)
        acks.acknowledge(claim)
    acks.confirm_take(3, 0)
    assert not acks.admit(claims[2])
    assert not acks.admit(claims[1])
    assert acks.admit(claims[0])


def test_message_itself_is_not_remembered() -> None:
    """A thousand remembered claims of a megabyte each must not take a gigabyte."""
    acks = AckTracker(remembered=1000)
    message = b"x" * 1_000_000
    acks.admit(Claim(message, b"1"))
    assert message not in str(vars(acks)).encode()
