"""Any order of messages, losses and failovers: the rule loses nothing in silence."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from channels_redis_shared.history.cursor import Cursor, Verdict
from channels_redis_shared.history.follower import Follower, Join, Read
from channels_redis_shared.history.positions import HistoryEntry, Replay
from channels_redis_shared.ops.statistics import Counters

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# Thousands of steps: a busy machine takes minutes.
pytestmark = pytest.mark.timeout(300)

# In the place of a message that a reader got: it was told that some may be missing.
TOLD = -1


class Server:
    """The history of one group, and the wire to one reader.

    Each message holds its number, counted from 0. The clock of a promoted replica is as far behind
    as it can be, so ids come again.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.clock = 1
        self.stream: list[HistoryEntry] = []
        self.position = ""
        self.sent = 0
        self.wire: list[HistoryEntry] = []
        self.old: list[HistoryEntry] = []
        # Messages that a failover has taken from the server. No one can know of those.
        self.lost: set[int] = set()

    def publish(self) -> None:
        """Append a message, and put it on the wire, as `append.lua` does."""
        self.clock += 1
        position = f"{self.clock}-0.{secrets.token_hex(4)}"
        entry = HistoryEntry(position, self.position, b"%d" % self.sent)
        self.sent += 1
        self.stream = [*self.stream, entry][-self.size :]
        self.position = entry.position
        self.wire.append(entry)
        self.old.append(entry)

    def fail_over(self, count: int) -> None:
        """Lose the latest messages, and what is on the wire."""
        first = self.stream[-count:][0]
        # With those that were removed.
        self.lost.update(range(int(first.data), self.sent))
        # Copies of them were on the connections to the former master.
        self.old = [entry for entry in self.old if int(entry.data) not in self.lost]
        self.stream = self.stream[:-count]
        self.position = first.previous
        self.clock = int(self.position.partition("-")[0] or 1)
        self.wire.clear()

    def read(self, *since: str) -> Replay:
        """Return the history from the lowest id on, as `read.lua` does."""
        if not self.position:
            self.position = f"{self.clock}-0.{secrets.token_hex(4)}"
        ids = [int(one.partition("-")[0]) for one in since if one]
        first = min(ids, default=None)
        found = [
            HistoryEntry(entry.position, entry.previous, entry.data)
            for entry in self.stream
            if first is not None and int(entry.position.partition("-")[0]) >= first
        ]
        return Replay(self.position, found)


def check(got: list[int], server: Server) -> None:
    """Check what a reader got, where `TOLD - n` says that it was told when n had been sent."""
    latest, covered = -1, -1
    for one in got:
        if one <= TOLD:
            covered = max(covered, TOLD - one - 1)
            continue
        assert one > latest, f"{one} came twice or late in {got}"
        silent = set(range(latest + 1, one)) - server.lost - set(range(covered + 1))
        assert latest == -1 or not silent, f"{silent} are missing in {got}"
        latest = one


class Messages(RuleBasedStateMachine):
    """Events at the server and on the wire."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server(3)

    @rule()
    def publish(self) -> None:
        """Send a message."""
        self.server.publish()

    @precondition(lambda self: self.server.wire)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        """Lose a message on its way."""
        self.server.wire.pop(data.draw(st.integers(0, len(self.server.wire) - 1)))

    @precondition(lambda self: len(self.server.wire) > 1)
    @rule()
    def swap(self) -> None:
        """Let a message overtake another."""
        wire = self.server.wire
        wire[0], wire[1] = wire[1], wire[0]

    @precondition(lambda self: self.server.old)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Let an old copy of a message come late."""
        old = self.server.old
        self.server.wire.append(old[data.draw(st.integers(0, len(old) - 1))])

    @precondition(lambda self: self.server.stream)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Let another program remove a message from the history."""
        stream = self.server.stream
        gone = stream[data.draw(st.integers(0, len(stream) - 1))]
        self.server.stream = [entry for entry in stream if entry is not gone]

    @rule()
    def expire(self) -> None:
        """Let the messages expire, but not the position of the latest."""
        self.server.stream.clear()

    @rule()
    def flush(self) -> None:
        """Lose all that the server has."""
        self.server.stream.clear()
        self.server.position = ""


class OneReader(Messages):
    """A reader that reads the history at once."""

    def __init__(self) -> None:
        super().__init__()
        self.cursor = Cursor()
        self.got: list[int] = []

    @precondition(lambda self: self.server.stream)
    @rule(count=st.integers(1, 3))
    def fail_over(self, count: int) -> None:
        """Promote a replica."""
        self.server.fail_over(count)

    @precondition(lambda self: self.server.wire)
    @rule()
    def receive(self) -> None:
        """Let a message arrive."""
        entry = self.server.wire.pop(0)
        verdict = self.cursor.judge(entry)
        if verdict is Verdict.NEXT:
            self.got.append(int(entry.data))
        elif verdict is Verdict.GAP:
            missed, recovered = self.cursor.catch_up(self.server.read(self.cursor.position), entry)
            if not recovered:
                self.got.append(TOLD - self.server.sent)
            self.got += [int(entry.data) for entry in missed]

    def teardown(self) -> None:
        """Receive what is left, and check all of it."""
        while self.server.wire:
            self.receive()
        check(self.got, self.server)


class Members:
    """The mailboxes of the members."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.got: dict[str, list[int]] = {}

    def deliver(self, entry: HistoryEntry, without: Collection[str]) -> None:
        """Put a message into the mailbox of each member but some."""
        for channel, got in self.got.items():
            if channel not in without:
                got.append(int(entry.data))

    def replay(self, entries: Sequence[HistoryEntry], channel: str) -> None:
        """Put messages into one mailbox."""
        self.got[channel] += [int(entry.data) for entry in entries]

    def notify_gap(self, position: str) -> None:  # noqa: ARG002 - the number of messages tells more
        """Tell all members."""
        for got in self.got.values():
            got.append(TOLD - self.server.sent)


class Reading:
    """A read that is under way: it was sent, or also executed."""

    def __init__(self, read: Read, since: str | None = None) -> None:
        self.read = read
        self.since = since
        self.replay: Replay | None = None


class OneProcess(Messages):
    """Members that join and read at any time, while reads are under way."""

    def __init__(self) -> None:
        super().__init__()
        self.members = Members(self.server)
        self.follower = Follower(self.members, Counters())
        self.reads: list[Reading] = []

    def start(self, read: Read | None) -> None:
        """Send a read, if there is one."""
        if read is not None:
            self.reads.append(Reading(read))

    @precondition(lambda self: self.server.stream)
    @rule(count=st.integers(1, 3))
    def fail_over(self, count: int) -> None:
        """Promote a replica, and subscribe to it."""
        self.server.fail_over(count)
        self.start(self.follower.begin_repair())

    @precondition(lambda self: self.server.wire)
    @rule()
    def receive(self) -> None:
        """Let a message arrive."""
        self.start(self.follower.on_message(self.server.wire.pop(0)))

    @precondition(lambda self: len(self.members.got) < 4)
    @rule(data=st.data())
    def join(self, data: st.DataObject) -> None:
        """Begin a join, some with the position of a message."""
        channel = f"channel {len(self.members.got)}"
        old = self.server.old
        at = data.draw(st.none() | st.integers(0, len(old) - 1)) if old else None
        since = None if at is None else old[at].position
        # As if the channel had had the message.
        self.members.got[channel] = [] if at is None else [int(old[at].data)]
        join = self.follower.begin_join(channel)
        if not self.follower.confirm_join_at_cursor(join, since):
            self.reads.append(Reading(join, since))

    @precondition(lambda self: self.reads)
    @rule(data=st.data())
    def execute(self, data: st.DataObject) -> None:
        """Let the server execute a read."""
        reading = self.reads[data.draw(st.integers(0, len(self.reads) - 1))]
        if reading.replay is None:
            reading.replay = self.server.read(reading.read.position, reading.since or "")

    @precondition(lambda self: any(reading.replay for reading in self.reads))
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """Let the reply of a read arrive."""
        executed = [reading for reading in self.reads if reading.replay]
        self.finish(executed[data.draw(st.integers(0, len(executed) - 1))])

    def finish(self, reading: Reading) -> None:
        """Execute a read, unless it was, and take its reply."""
        self.reads.remove(reading)
        read = reading.read
        replay = reading.replay or self.server.read(read.position, reading.since or "")
        if not isinstance(read, Join):
            self.start(self.follower.repair(read, replay))
            return
        before = len(self.members.got[read.channel])
        joined = self.follower.confirm_join(read, replay, reading.since, 0)
        if joined is None:
            self.reads.append(Reading(read, reading.since))
            return
        if not joined[1]:
            self.members.got[read.channel].insert(before, TOLD - self.server.sent)
        self.start(self.follower.release())

    def teardown(self) -> None:
        """Receive and read what is left, and check what each member got."""
        while self.reads:
            self.finish(self.reads[0])
        while self.server.wire:
            self.receive()
            while self.reads:
                self.finish(self.reads[0])
        for got in self.members.got.values():
            check(got, self.server)
        # A message that nothing is lost before reaches all.
        self.server.publish()
        self.receive()
        while self.reads:
            self.finish(self.reads[0])
        for got in self.members.got.values():
            check(got, self.server)
            assert got[-1] == self.server.sent - 1 or got[-1] <= TOLD


TestOneReader = OneReader.TestCase
TestOneProcess = OneProcess.TestCase
