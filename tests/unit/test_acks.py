"""A reader's claims: any order of takes, releases, lost replies and failovers; and its memory."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from channels_redis_queue.protocol.inbox import AckTracker, Claim
from unit.conftest import rule_on

REMEMBERED = 1000


class Take:
    """The commands of one write: put back, acknowledge, and return all claims, new ones last."""

    def __init__(self, acks: AckTracker, number: int) -> None:
        self.number = number
        self.requeued = list(acks.requeues)
        self.acknowledged = acks.pending_acks()
        self.reply: list[Claim] | None = None


class Acknowledgements(RuleBasedStateMachine):
    """One reader and its server: each message is handed out once, and none is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.acks = AckTracker(REMEMBERED)
        self.published: list[Claim] = []
        # On the server.
        self.queue: list[Claim] = []
        self.claims: list[Claim] = []
        # Messages that the reader may hand out, those that it has, and those acknowledged.
        self.free: set[Claim] = set()
        self.out: list[Claim] = []
        self.done: list[Claim] = []
        self.remembered: list[Claim] = []
        # Writes without a reply, and one of a lost connection that may still arrive.
        self.take: Take | None = None
        self.late: Take | None = None
        self.writes = 0
        # The number of the latest release that the server has executed.
        self.released = 0

    @precondition(lambda self: len(self.queue) < 3)
    @rule(message=st.sampled_from([b"one", b"two"]))
    def publish(self, message: bytes) -> None:
        """Add a message to the queue, often with the same bytes as another."""
        claim = Claim(message, b"%d" % len(self.published))
        self.published.append(claim)
        self.queue.append(claim)
        self.free.add(claim)

    @rule(count=st.integers(0, 3))
    def take_on(self, count: int) -> None:
        """Continue a take: send it, let the server execute it, or read its reply."""
        if self.take is None:
            self.writes += 1
            self.take = Take(self.acks, self.writes)
        elif self.take.reply is None:
            self.execute(self.take, count)
        else:
            del self.acks.requeues[: len(self.take.requeued)]
            self.read(self.take.acknowledged, self.take.reply)
            self.take = None

    def execute(self, take: Take, count: int) -> None:
        """Let the server execute a write: a release does nothing after a later one."""
        if take.requeued and take.number > self.released:
            self.released = take.number
            back = [claim for claim in self.claims if claim.score in take.requeued]
            self.claims = [claim for claim in self.claims if claim not in back]
            self.queue[:0] = back
            self.free.update(back)
        self.claims = [claim for claim in self.claims if claim.score not in take.acknowledged]
        self.claims += self.queue[:count]
        del self.queue[:count]
        take.reply = list(self.claims)

    def read(self, acknowledged: list[bytes], reply: list[Claim]) -> None:
        """Read the reply of a take."""
        self.acks.confirm_acks(len(acknowledged))
        by_score = {claim.score: claim for claim in self.done}
        for score in acknowledged:
            if by_score[score] not in self.remembered:
                self.remembered.append(by_score[score])
        for claim in reply:
            if self.acks.admit(claim):
                self.free.remove(claim)
                self.out.append(claim)

    @precondition(lambda self: self.take)
    @rule()
    def lose_connection(self) -> None:
        """Lose the replies, before or after the server has executed the write."""
        if self.take and self.take.reply is None:
            self.late = self.take
        self.take = None

    @precondition(lambda self: self.late)
    @rule(count=st.integers(0, 3))
    def arrive_late(self, count: int) -> None:
        """Let the server execute a write of a lost connection."""
        if self.late:
            self.execute(self.late, count)
        self.late = None

    @rule_on("claim", lambda self: self.out)
    def receive(self, claim: Claim) -> None:
        """Let a consumer receive a message."""
        self.out.remove(claim)
        self.done.append(claim)
        self.acks.acknowledge(claim)

    @precondition(lambda self: self.take is None)
    @rule_on("claim", lambda self: self.out)
    def give_up(self, claim: Claim) -> None:
        """Requeue a message for another reader."""
        self.out.remove(claim)
        self.acks.requeue(claim)

    @rule_on("claim", lambda self: [one for one in self.remembered if one not in self.claims])
    def fail_over(self, claim: Claim) -> None:
        """Bring back a message; its acknowledgement had not reached the replica."""
        self.claims.append(claim)

    def teardown(self) -> None:
        """Continue without faults: every message is delivered and acknowledged in the end."""
        self.take = None
        for _ in range(5):
            for _ in range(3):
                self.take_on(len(self.queue))
            for claim in self.out:
                self.acks.acknowledge(claim)
            self.done += self.out
            self.out = []
        assert sorted(self.done) == sorted(self.published)
        assert (self.claims, self.queue) == ([], [])
        assert (self.acks.pending_acks(), self.acks.requeues) == ([], [])


TestAcknowledgements = Acknowledgements.TestCase


def test_only_the_latest_are_remembered() -> None:
    """The memory of acknowledged claims is bounded: the oldest one is forgotten."""
    acks = AckTracker(remembered=2)
    claims = [Claim(b"%d" % n, b"%d" % n) for n in range(3)]
    for claim in claims:
        assert acks.admit(claim)
        acks.acknowledge(claim)
    acks.confirm_acks(3)
    assert not acks.admit(claims[2])
    assert not acks.admit(claims[1])
    assert acks.admit(claims[0])


def test_message_itself_is_not_remembered() -> None:
    """A thousand remembered claims of a megabyte each must not take a gigabyte."""
    acks = AckTracker(remembered=1000)
    message = b"x" * 1_000_000
    acks.admit(Claim(message, b"1"))
    assert message not in str(vars(acks)).encode()
