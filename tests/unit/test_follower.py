"""Any order of messages, joins, leaves, losses and failovers: no member misses any in silence."""

from __future__ import annotations

import asyncio
import secrets
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from redis.exceptions import ConnectionError as RedisConnectionError

from channels_redis_shared.concurrency import start_task
from channels_redis_shared.delivery.mailboxes import Mailboxes
from channels_redis_shared.history import follower as module
from channels_redis_shared.history.follower import Followers, GapNotice
from channels_redis_shared.history.store import HistoryEntry, Replay
from channels_redis_shared.ops.statistics import Counters
from unit.conftest import rule_on

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine

    from channels_redis_shared.history.follower import Follower
    from channels_redis_shared.history.store import Question

GROUP = "chat"


@pytest.fixture(autouse=True)
def _short_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ARRIVED", 4)


def number_of(entry: HistoryEntry) -> int:
    """The number of a message."""
    return int(entry.data.rstrip(b"?"))


class Server:
    """The history of one group. Each message holds its number, counted from 0.

    The clock of a promoted replica is as far behind as it can be, so ids come again.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.clock = 1
        self.stream: list[HistoryEntry] = []
        self.position = ""
        self.sent = 0
        # Messages that a failover has taken from the server. No one can know of those.
        self.lost: set[int] = set()

    def append(self) -> HistoryEntry:
        """Append a message, as `append.lua` does."""
        self.clock += 1
        position = f"{self.clock}-0.{secrets.token_hex(4)}"
        entry = HistoryEntry(position, self.position, b"%d" % self.sent)
        self.sent += 1
        self.stream = [*self.stream, entry][-self.size :]
        self.position = entry.position
        return entry

    def fail_over(self, count: int) -> None:
        """Lose the latest messages."""
        first = self.stream[-count:][0]
        # With those that were removed.
        self.lost.update(range(number_of(first), self.sent))
        self.stream = self.stream[:-count]
        self.position = first.previous
        self.clock = int(self.position.partition("-")[0] or 1)

    def read(self, question: Question) -> Replay:
        """The history from an id on, as `read.lua` does."""
        if not self.position:
            self.position = f"{self.clock}-0.{secrets.token_hex(4)}"
        since = question.since
        found = [
            HistoryEntry(entry.position, entry.previous, entry.data)
            for entry in self.stream
            if since is not None and int(entry.position.partition("-")[0]) >= since[0]
        ]
        return Replay(self.position, found, self.stream[-question.latest :])


class Member:
    """A channel, and what it has got.

    Attributes:
        base: The number of the message after which it wants all.
    """

    def __init__(self, base: int | None) -> None:
        self.base = base
        # Messages, in order, and those that a notice may have been about.
        self.got: list[int] = []
        self.notified: set[int] = set()
        # The number of its joins under way, and what it should have got before they ended.
        self.joins = 0
        self.early: set[int] = set()

    @property
    def latest(self) -> int | None:
        """The latest message that it has got."""
        return self.got[-1] if self.got else self.base

    def missing(self, numbers: Collection[int]) -> set[int]:
        """Those of some messages that it should have got."""
        base = self.base if self.base is not None else min(self.got, default=None)
        if base is None:
            return set()
        return {one for one in numbers if one > base}.difference(self.got, self.notified)


class Boxes(Mailboxes):
    """Mailboxes that give up their items at once.

    Args:
        take: Called with a channel and an item.
    """

    def __init__(self, take: Callable[[str, Any], object]) -> None:
        super().__init__(2**30, lambda *_: None)
        self._take = take

    def _new_mailbox(self, channel: str) -> Any:
        return SimpleNamespace(capacity=None, put=lambda entry: self._take(channel, entry.item))


class History(RuleBasedStateMachine):
    """One process; its reads of the history take any time."""

    size = 1000

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.server = Server(self.size)
        # On the way to the process; and copies of what was sent.
        self.wire: list[HistoryEntry] = []
        self.old: list[HistoryEntry] = []
        self.arrived: set[int] = set()
        # At most one, with its reply, and what the server has answered.
        self.reads: list[tuple[Question, asyncio.Future[Replay], list[Replay]]] = []
        self.members: dict[str, Member] = {}
        # What had arrived when a member left, until its leave takes effect.
        self.leaves: dict[str, set[int]] = {}
        self.names = iter(map(str, range(1000)))
        self.positions: list[str] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.failures: list[BaseException] = []
        # True once a read has failed: members may stay where they are.
        self.failed = False
        # The oldest position that members may step back to.
        self.first = ""
        settings: Any = SimpleNamespace(
            counters=Counters(),
            faults=SimpleNamespace(warning=lambda *_: None),
            decoder=SimpleNamespace(decode=self.decode),
            report_unreadable=lambda *_: None,
            on_gap="gap",
            expiry=60,
        )
        self.mailboxes = Boxes(self.put)
        self.followers: Followers[str] = Followers(
            self.read, lambda _: self.members, lambda _: GROUP, self.spawn, self.mailboxes, settings
        )

    @property
    def follower(self) -> Follower[str]:
        """The follower of the group."""
        found = self.followers.find(GROUP)
        assert found is not None
        return found

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine in the background, and note its failure."""
        task = start_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.on_end)
        return task

    def on_end(self, task: asyncio.Task[None]) -> None:
        """Note the failure of a coroutine."""
        self.tasks.remove(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append(error)

    def decode(self, data: bytes, _: str) -> Any:
        """Decode a message, if it can be read."""
        return SimpleNamespace(excluded=(), number=int(data))

    def put(self, channel: str, item: Any) -> None:
        """Put a message, a notice, or the check of what has to come before, into a mailbox."""
        member = self.members.get(channel)
        if member is None:
            return
        if isinstance(item, GapNotice):
            self.notify(member)
        elif callable(item):
            item(member)
        else:
            assert member.latest is None or item.number > member.latest, "twice or late"
            between = range((member.latest or 0) + 1, item.number)
            missing = member.missing(between) - self.server.lost
            assert not missing, f"{missing} are missing before {item.number} in {member.got}"
            member.got.append(item.number)

    def notify(self, member: Member) -> None:
        """Note that a member got a notice, as the server lost all positions that it had."""
        lost = {self.positions[number] for number in self.server.lost}
        assert self.first in lost, "a notice although the history has all"
        member.notified.update(range(self.server.sent))

    async def read(self, _: str, question: Question) -> Replay:
        """Read the history."""
        assert not self.reads, "one read at a time"
        reply: asyncio.Future[Replay] = self.loop.create_future()
        self.reads.append((question, reply, []))
        return await reply

    def turn(self, call: Callable[[], object] = lambda: None) -> None:
        """Call in the event loop, and let what waits go on.

        The leaves of members that are behind wait, like those that the queue layer takes.
        """
        for channel in [one for one in self.leaves if not self.followers.is_behind(GROUP, one)]:
            self.check_early(self.members.pop(channel), self.leaves.pop(channel))

        async def run() -> None:
            call()
            for _ in range(10):
                await asyncio.sleep(0)

        self.loop.run_until_complete(run())
        if self.failures:
            raise self.failures[0]
        trail = self.follower._trail
        if self.first not in trail:
            self.first = trail[0] if trail else ""

    @rule()
    def publish(self) -> None:
        """Send a message."""
        entry = self.server.append()
        self.wire.append(entry)
        self.old.append(entry)
        self.positions.append(entry.position)

    @rule_on("index", lambda self: range(len(self.wire)))
    def drop(self, index: int) -> None:
        """Lose a message on its way."""
        del self.wire[index]

    @precondition(lambda self: len(self.wire) > 1)
    @rule()
    def swap(self) -> None:
        """Let a message overtake another."""
        self.wire[:2] = self.wire[1::-1]

    @rule_on("entry", lambda self: self.old)
    def repeat(self, entry: HistoryEntry) -> None:
        """Let a copy of an old message come late."""
        self.wire.append(entry)

    @precondition(lambda self: self.server.stream)
    @rule(count=st.integers(1, 3), is_noticed=st.booleans())
    def fail_over(self, count: int, *, is_noticed: bool) -> None:
        """Promote a replica, which might go unnoticed."""
        self.server.fail_over(count)
        self.wire.clear()
        self.old = [entry for entry in self.old if number_of(entry) not in self.server.lost]
        if is_noticed:
            self.turn(self.follower.fall_behind)

    @precondition(lambda self: self.wire)
    @rule()
    def receive(self) -> None:
        """Let a message arrive."""
        entry = self.wire.pop(0)
        self.arrived.add(number_of(entry))
        self.turn(lambda: self.follower.on_message(entry))

    @rule()
    def reconnect(self) -> None:
        """Lose the connection, and have it back; after that, nothing sent before is missing."""
        sent = range(self.server.sent)

        def check() -> None:
            for channel, member in self.members.items():
                missing = member.missing(sent) - self.server.lost
                assert not missing or member.joins or self.failed, (channel, missing)

        self.turn(lambda: self.follower.fall_behind(check))

    @rule()
    def change_loops(self) -> None:
        """End the event loop, with all that is under way, and go on in the next one."""

        def end() -> None:
            self.followers.stop()
            for task in list(self.tasks):
                task.cancel()

        self.reads.clear()
        self.turn(end)
        self.turn(self.follower.fall_behind)

    @initialize()
    def join_first(self) -> None:
        """Let a first channel join."""
        self.start_join(next(self.names), Member(None), None)

    @precondition(lambda self: len(self.members) < 4)
    @rule(data=st.data(), fails=st.booleans())
    def join(self, data: st.DataObject, *, fails: bool) -> None:
        """Let a channel join, with the position of a message or without."""
        since = data.draw(st.none() | st.sampled_from(self.old)) if self.old else None
        number = None if since is None else number_of(since)
        self.start_join(next(self.names), Member(number), number, fails=fails)

    def start_join(
        self, channel: str, member: Member, since: int | None, *, fails: bool = False
    ) -> None:
        """Begin a join; note its result once it has one."""
        reads = list(self.reads)
        self.members[channel] = member
        member.joins += 1

        async def join() -> None:
            join = self.followers.begin_join(GROUP, channel)
            follower = join.follower
            try:
                position = None if since is None else self.positions[since]
                joined = await follower.join(join, position, 0)
            except (RedisConnectionError, asyncio.CancelledError):
                self.members.pop(channel, None)
                self.leaves.pop(channel, None)
                follower.cancel_join(join)
                return
            finally:
                member.joins -= 1
            if joined.recovered:
                assert not member.early, f"{member.early} came after what was sent later"
                return
            if since in self.server.lost:
                member.notified.update(range(self.server.sent))
            else:
                self.notify(member)

        self.turn(lambda: self.spawn(join()))
        if fails and not reads:
            self.fail()

    @rule_on("channel", lambda self: sorted(self.members), leaves=st.booleans())
    def address(self, channel: str, *, leaves: bool) -> None:
        """Send a member something after what has arrived, or let it leave the group."""
        arrived = set(self.arrived)
        if leaves:
            self.leaves.setdefault(channel, arrived)
        else:
            check: Any = partial(self.check_early, arrived=arrived)
            self.turn(lambda: self.mailboxes.put((channel,), check))

    def check_early(self, member: Member, arrived: set[int]) -> None:
        """Check that a member has got what had arrived before."""
        missing = member.missing(arrived) - self.server.lost
        assert not missing or member.joins, f"{missing} came after what was sent later"
        member.early.update(missing)

    @precondition(lambda self: self.reads)
    @rule()
    def execute(self) -> None:
        """Let the server execute the read."""
        [(question, _, replays)] = self.reads
        if not replays:
            replays.append(self.server.read(question))

    @precondition(lambda self: self.reads)
    @rule()
    def answer(self) -> None:
        """Execute the read, unless it was, and let its reply arrive."""
        question, reply, replays = self.reads.pop()
        replay = replays[0] if replays else self.server.read(question)
        self.turn(lambda: reply.set_result(replay))

    def fail(self) -> None:
        """Let the read fail."""
        if self.reads:
            _, reply, _ = self.reads.pop()
            self.failed = True
            self.turn(lambda: reply.set_exception(RedisConnectionError("away")))

    def settle(self) -> None:
        """Receive and read what is left."""
        while self.reads or self.wire:
            if self.reads:
                self.answer()
            else:
                self.receive()

    def teardown(self) -> None:
        """Check that all members have all in the end."""
        try:
            self.check_end()
        finally:
            self.loop.close()

    def check_end(self) -> None:
        """Check that all members have all, and that nothing is left."""
        self.settle()
        self.publish()
        self.settle()
        for channel, member in self.members.items():
            assert member.latest == self.server.sent - 1 or member.notified, (channel, member.got)
            assert not member.missing(range(self.server.sent)) - self.server.lost
        assert not self.follower.is_behind("")
        assert not self.mailboxes.waits


class DamagedHistory(History):
    """The history loses messages: members get a notice before later ones."""

    size = 3

    def notify(self, member: Member) -> None:
        """Note that a member got a notice."""
        member.notified.update(range(self.server.sent))

    @rule_on("entry", lambda self: self.server.stream)
    def remove(self, entry: HistoryEntry) -> None:
        """Let another program remove a message."""
        self.server.stream.remove(entry)

    @rule_on("entry", lambda self: self.server.stream)
    def spoil(self, entry: HistoryEntry) -> None:
        """Let a message be one that can't be read."""
        entry.data = b"%d?" % number_of(entry)

    @rule()
    def expire(self) -> None:
        """Let the messages expire, but not the position of the latest."""
        self.server.stream.clear()

    @rule()
    def flush(self) -> None:
        """Lose all that the server has."""
        self.server.stream.clear()
        self.server.position = ""

    @precondition(lambda self: self.reads)
    @rule()
    def fail_read(self) -> None:
        """Let the read fail: members stay where they are, and get a notice in the end."""
        self.fail()


TestHistory = History.TestCase
TestDamagedHistory = DamagedHistory.TestCase
