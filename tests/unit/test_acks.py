"""The claims of a reader: which are new, which to acknowledge, which to requeue."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest

from channels_redis_queue.protocol.acks import AckTracker, Claim

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
    """What was sent in a take whose reply got lost is sent again, and new ones with it."""
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


def test_claim_that_comes_back_is_acknowledged_again() -> None:
    """A failover can bring back what was acknowledged: it is not handed out once more."""
    acks = AckTracker(remembered=10)
    acks.admit(FIRST)
    acks.acknowledge(FIRST)
    acks.confirm_take(1, 0)
    assert not acks.admit(FIRST)
    assert acks.pending_acks() == [FIRST.score]


def test_claim_in_a_mailbox_is_not_acknowledged() -> None:
    """A claim that was handed out and not yet received stays a claim, however often it is seen."""
    acks = AckTracker(remembered=10)
    acks.admit(FIRST)
    acks.admit(FIRST)
    assert acks.pending_acks() == []


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


def test_claim_given_back_is_new_when_it_comes_again() -> None:
    """What went back to the queue may be taken by this reader again: by a take sent after that."""
    acks = AckTracker(remembered=10)
    acks.admit(FIRST)
    acks.requeue(FIRST)
    assert not acks.admit(FIRST)  # the release is not known to have been carried out
    assert acks.ambiguous
    assert acks.pending_requeues() == [FIRST.score]
    assert acks.pending_requeues() == [FIRST.score]  # it was not carried out
    acks.confirm_requeues(1)
    assert acks.pending_requeues() == []
    acks.confirm_take(0, acks.confirmed_requeues)  # the next take
    assert acks.admit(FIRST)


def test_take_that_was_under_way_while_a_claim_went_back() -> None:
    """Whether it has taken the message once more, or returns the old claim, the next take tells."""
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


def test_claims_are_remembered_until_the_server_has_heard_of_them() -> None:
    """However many were handed out at once, and acknowledged while a take was under way."""
    acks = AckTracker(remembered=2)
    claims = [Claim(b"%d" % n, b"%d" % n) for n in range(20)]
    assert all(acks.admit(claim) for claim in claims)
    assert not any(acks.admit(claim) for claim in claims)
    for claim in claims:
        acks.acknowledge(claim)
    assert not any(acks.admit(claim) for claim in claims)


def test_message_itself_is_not_remembered() -> None:
    """A thousand remembered claims of a megabyte each must not take a gigabyte."""
    acks = AckTracker(remembered=1000)
    message = b"x" * 1_000_000
    acks.admit(Claim(message, b"1"))
    assert message not in str(vars(acks)).encode()
