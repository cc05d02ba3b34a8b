"""The ledger of a reader: what is new, what to acknowledge, what to give back."""

from __future__ import annotations

from channels_redis_queue.claims import Claim, Ledger

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
    ledger.settled(len(sent))
    assert ledger.due() == [SECOND.score]


def test_claim_that_comes_back_is_acknowledged_again() -> None:
    """A failover can bring back what was acknowledged: it is not handed out once more."""
    ledger = Ledger(remembered=10)
    ledger.admit(FIRST)
    ledger.acknowledge(FIRST)
    ledger.settled(1)
    assert not ledger.admit(FIRST)
    assert ledger.due() == [FIRST.score]


def test_claim_in_a_mailbox_is_not_acknowledged() -> None:
    """A claim that was handed out and not yet received stays a claim, however often it is seen."""
    ledger = Ledger(remembered=10)
    ledger.admit(FIRST)
    ledger.admit(FIRST)
    assert ledger.due() == []


def test_claim_given_back_is_new_when_it_comes_again() -> None:
    """What went back to the queue may be taken by this reader again."""
    ledger = Ledger(remembered=10)
    ledger.admit(FIRST)
    ledger.give_back(FIRST)
    assert not ledger.admit(FIRST)  # the release has not gone out yet
    assert ledger.returns() == [FIRST.score]
    assert ledger.returns() == []
    assert ledger.admit(FIRST)


def test_only_the_latest_are_remembered() -> None:
    """The memory is bounded, and the oldest claim is the one that is forgotten."""
    ledger = Ledger(remembered=2)
    claims = [Claim(b"%d" % n, b"%d" % n) for n in range(3)]
    assert all(ledger.admit(claim) for claim in claims)
    assert not ledger.admit(claims[2])
    assert not ledger.admit(claims[1])
    assert ledger.admit(claims[0])


def test_message_itself_is_not_remembered() -> None:
    """A thousand remembered claims of a megabyte each must not take a gigabyte."""
    ledger = Ledger(remembered=1000)
    message = b"x" * 1_000_000
    ledger.admit(Claim(message, b"1"))
    assert message not in str(vars(ledger)).encode()
