"""The memory of a reader's claims; the state machine has all else."""

from __future__ import annotations

from channels_redis_queue.protocol.inbox import AckTracker, Claim


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
