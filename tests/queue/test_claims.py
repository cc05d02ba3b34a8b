"""The ledger of a reader: what is new, what to acknowledge, what to give back."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest

from channels_redis_queue.protocol.acks import Claim, Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = Claim(b"first", b"1700000000.0000011")
SECOND = Claim(b"second", b"1700000000.0000021")


def test_claim_is_handed_out_once() -> None:
    """A take returns every claim that is not acknowledged yet; only the new ones are handed out."""
    ledger = Ledger(remembered=10)
    assert ledger.admit(FIRST)
    assert not ledger.admit(FIRST)
    assert ledger.admit(SECOND)


def test_equal_messages_with_other_scores_are_others() -> None:
    """Messages may be equal byte for byte, and scores may be: only both together are one claim."""
    ledger = Ledger(remembered=10)
    assert ledger.admit(FIRST)
    assert ledger.admit(Claim(FIRST.message, SECOND.score))
    assert ledger.admit(Claim(SECOND.message, FIRST.score))


def test_acknowledgement_is_due_until_the_server_has_answered() -> None:
    """What was sent in a take whose reply got lost is sent again, and new ones with it."""
    ledger = Ledger(remembered=10)
    for claim in (FIRST, SECOND):
        ledger.admit(claim)
    ledger.acknowledge(FIRST)
    sent = ledger.due()
    assert sent == [FIRST.score]
    ledger.acknowledge(SECOND)  # while that take is under way
    assert ledger.due() == [FIRST.score, SECOND.score]
    ledger.settled(len(sent), 0)
    assert ledger.due() == [SECOND.score]


def test_claim_that_comes_back_is_acknowledged_again() -> None:
    """A failover can bring back what was acknowledged: it is not handed out once more."""
    ledger = Ledger(remembered=10)
    ledger.admit(FIRST)
    ledger.acknowledge(FIRST)
    ledger.settled(1, 0)
    assert not ledger.admit(FIRST)
    assert ledger.due() == [FIRST.score]


def test_claim_in_a_mailbox_is_not_acknowledged() -> None:
    """A claim that was handed out and not yet received stays a claim, however often it is seen."""
    ledger = Ledger(remembered=10)
    ledger.admit(FIRST)
    ledger.admit(FIRST)
    assert ledger.due() == []


@pytest.mark.parametrize("note", [Ledger.acknowledge, Ledger.give_back])
def test_other_threads_take_note_meanwhile(note: Callable[[Ledger, Claim], None]) -> None:
    """A consumer of another thread's loop may open a message, or leave, at any moment."""
    ledger = Ledger(remembered=10)
    claims = [Claim(b"message", b"%d" % number) for number in range(20_000)]

    def work() -> None:
        for claim in claims:
            note(ledger, claim)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            ledger.due()
            ledger.returns()
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert (ledger.due() or ledger.returns()) == [claim.score for claim in claims]


def test_claim_given_back_is_new_when_it_comes_again() -> None:
    """What went back to the queue may be taken by this reader again: by a take sent after that."""
    ledger = Ledger(remembered=10)
    ledger.admit(FIRST)
    ledger.give_back(FIRST)
    assert not ledger.admit(FIRST)  # the release is not known to have been carried out
    assert ledger.doubtful
    assert ledger.returns() == [FIRST.score]
    assert ledger.returns() == [FIRST.score]  # it was not carried out
    ledger.returned(1)
    assert ledger.returns() == []
    ledger.settled(0, ledger.went_back)  # the next take
    assert ledger.admit(FIRST)


def test_take_that_was_under_way_while_a_claim_went_back() -> None:
    """Whether it has taken the message once more, or returns the old claim, the next take tells."""
    ledger = Ledger(remembered=10)
    ledger.admit(FIRST)
    ledger.give_back(FIRST)
    under_way = ledger.went_back
    ledger.returned(1)
    ledger.settled(0, under_way)
    assert not ledger.doubtful
    assert not ledger.admit(FIRST)
    assert ledger.doubtful
    ledger.settled(0, ledger.went_back)
    assert not ledger.doubtful
    assert ledger.admit(FIRST)


def test_only_the_latest_are_remembered() -> None:
    """The memory of acknowledged claims is bounded: the oldest one is forgotten."""
    ledger = Ledger(remembered=2)
    claims = [Claim(b"%d" % n, b"%d" % n) for n in range(3)]
    for claim in claims:
        assert ledger.admit(claim)
        ledger.acknowledge(claim)
    ledger.settled(3, 0)
    assert not ledger.admit(claims[2])
    assert not ledger.admit(claims[1])
    assert ledger.admit(claims[0])


def test_claims_are_remembered_until_the_server_has_heard_of_them() -> None:
    """However many were handed out at once, and acknowledged while a take was under way."""
    ledger = Ledger(remembered=2)
    claims = [Claim(b"%d" % n, b"%d" % n) for n in range(20)]
    assert all(ledger.admit(claim) for claim in claims)
    assert not any(ledger.admit(claim) for claim in claims)
    for claim in claims:
        ledger.acknowledge(claim)
    assert not any(ledger.admit(claim) for claim in claims)


def test_message_itself_is_not_remembered() -> None:
    """A thousand remembered claims of a megabyte each must not take a gigabyte."""
    ledger = Ledger(remembered=1000)
    message = b"x" * 1_000_000
    ledger.admit(Claim(message, b"1"))
    assert message not in str(vars(ledger)).encode()
