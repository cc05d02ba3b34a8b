"""The memory of a reader's claims, and its threads; the state machine has all else."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest

from channels_redis_queue.protocol.inbox import AckTracker, Claim

if TYPE_CHECKING:
    from collections.abc import Callable


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
