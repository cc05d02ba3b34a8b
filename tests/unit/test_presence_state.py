"""The people present, after any order of tracks, ends, kills, losses and messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from channels_redis_shared.presence.state import Change, Diff, LocalPresence, batches

if TYPE_CHECKING:
    from collections.abc import Callable

# Thousands of steps: a busy machine takes minutes.
pytestmark = pytest.mark.timeout(300)

GROUP = "room"
GRACE = 15.0
KEY_NAMES = ["ann", "bob", "eve"]
KEYS = st.sampled_from(KEY_NAMES)
METAS = st.sampled_from(["1", "2"])


@dataclass
class Server:
    """The people in a group as Redis has them, without its scripts."""

    # By process.
    local: dict[int, dict[str, list[str]]] = field(default_factory=dict)
    at: int = 0

    def processes(self, key: str) -> int:
        """Return the number of processes that have a person."""
        return sum(key in people for people in self.local.values())

    def write(self, process: int, key: str, metas: list[str]) -> tuple[bool, int]:
        """Write a person, or remove one without metas; return whether all see it, and its time."""
        people = self.local.setdefault(process, {})
        self.at += 1
        before = people.pop(key, None)
        is_new = (before is None) == bool(metas) and not self.processes(key)
        if metas:
            people[key] = metas
        return is_new, self.at


class Timer:
    """A call at a time."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call = call

    def cancel(self) -> None:
        """Call nothing."""
        self.call = lambda: None


class Clock:
    """The time, and what is to be called later."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def call_later(self, seconds: float, call: Callable[[], None]) -> Any:
        """Call a function after some seconds."""
        self.timers.append(Timer(self.now + seconds, call))
        return self.timers[-1]

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        due = [timer for timer in self.timers if timer.at <= self.now]
        self.timers = [timer for timer in self.timers if timer.at > self.now]
        for timer in due:
            timer.call()


def local_presence(clock: Clock) -> LocalPresence:
    """Return the people of a process that has none yet."""
    return LocalPresence(clock.call_later, lambda: None)


@dataclass
class Process:
    """A process, with the person of each of its channels."""

    local: LocalPresence
    channels: dict[str, str] = field(default_factory=dict)
    diff: Diff = field(default_factory=Diff)


class PresenceModel(RuleBasedStateMachine):
    """Processes that track people, end and are killed, and one that looks at their messages."""

    processes = Bundle("processes")
    channels = Bundle("channels")

    def __init__(self) -> None:
        super().__init__()
        self.server = Server()
        self.alive: dict[int, Process] = {}
        self.dead: list[int] = []
        self.clock = Clock()
        self.made = 0
        self.messages: list[Diff] = []
        self.seen: dict[str, tuple[bool, int]] = {}

    @rule(target=processes)
    def start(self) -> int:
        """Start a process."""
        self.made += 1
        self.alive[self.made] = Process(local_presence(self.clock))
        return self.made

    @rule(target=channels, process=processes, key=KEYS, meta=METAS)
    def connect(self, process: int, key: str, meta: str) -> tuple[int, str, str]:
        """Open a tab."""
        self.made += 1
        channel = f"channel{self.made}"
        self._track(process, channel, key, meta)
        return process, channel, key

    @rule(channel=channels, meta=METAS)
    def change_meta(self, channel: tuple[int, str, str], meta: str) -> None:
        """Track a channel again, with the same key."""
        process, name, key = channel
        if process in self.alive and name in self.alive[process].channels:
            self._track(process, name, key, meta)

    @rule(target=channels, channel=consumes(channels), key=KEYS, meta=METAS)
    def change_key(self, channel: tuple[int, str, str], key: str, meta: str) -> object:
        """Track a channel again, as another person."""
        process, name, _ = channel
        if process not in self.alive or name not in self.alive[process].channels:
            return multiple()
        self._track(process, name, key, meta)
        return process, name, key

    @rule(channel=consumes(channels))
    def close(self, channel: tuple[int, str, str]) -> None:
        """Close a tab."""
        process, name, _ = channel
        if process in self.alive:
            self.alive[process].channels.pop(name, None)
            self.alive[process].local.end(name)
            assert name not in self.alive[process].local.channels()

    @rule(seconds=st.sampled_from([1.0, GRACE]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)
        for number in self.alive:
            self._write_changes(number)

    @rule(process=consumes(processes))
    def kill(self, process: int) -> None:
        """Kill a process. Messages that it has not sent are lost, and none was due."""
        if process in self.alive:
            self._send(self.alive.pop(process))
            self.dead.append(process)

    @rule(process=processes)
    def reap_living(self, process: int) -> None:
        """Take a process for dead that only was slow; it writes its people again."""
        if process in self.alive:
            self._reap(process, [])
            self._rewrite(process)

    @rule()
    def lose_all(self) -> None:
        """Lose all that the server has but its clock."""
        # No message tells that people of dead processes alone have left; the list shows it.
        for process in self.alive.values():
            self._send(process)
        for message in self.messages:
            self._look_at(message)
        self.messages.clear()
        self.dead.clear()
        self.server.local.clear()
        self.server.at += 1
        self.seen = dict.fromkeys(self.seen, (False, self.server.at))
        for number in self.alive:
            self._rewrite(number)

    @rule(data=st.data())
    def reap(self, data: st.DataObject) -> None:
        """Remove some people of a dead process."""
        if self.dead:
            process = data.draw(st.sampled_from(self.dead))
            people = sorted(self.server.local.get(process, {}))
            self._reap(process, people[: data.draw(st.integers(0, len(people)))])

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Deliver messages, in any order and some twice."""
        for process in self.alive.values():
            self._send(process)
        order = data.draw(st.permutations(self.messages))
        self.messages.clear()
        for message in [*order, *order[:1]]:
            self._look_at(message)

    @invariant()
    def list_is_who_is_there(self) -> None:
        """Those whose channels live, or ended less than the grace ago, are the ones listed."""
        for number, process in self.alive.items():
            listed = self.server.local.get(number, {})
            assert set(process.channels.values()) <= set(listed)
            assert {key for key in KEY_NAMES if process.local.find(GROUP, key)} == set(listed)

    def teardown(self) -> None:
        """Compare what messages told with who is there, once all is quiet."""
        self.clock.advance(GRACE)
        for number in self.alive:
            self._write_changes(number)
        for number in self.dead:
            self._reap(number, [])
        for process in self.alive.values():
            self._send(process)
        for message in self.messages:
            self._look_at(message)
        here = {key for process in self.alive.values() for key in process.channels.values()}
        assert {key for people in self.server.local.values() for key in people} == here
        assert {key for key, (is_there, _) in self.seen.items() if is_there} == here

    def _track(self, number: int, channel: str, key: str, meta: str) -> None:
        if number not in self.alive:
            return
        process = self.alive[number]
        process.channels[channel] = key
        if process.local.track(GROUP, channel, key, meta, GRACE):
            self._write(number, key)

    def _write(self, number: int, key: str) -> None:
        process = self.alive[number]
        person = process.local.find(GROUP, key)
        assert person is not None
        is_new, at = self.server.write(number, key, person.metas)
        if is_new:
            metas = person.metas or list(person.by_channel.values())
            process.diff.add(key, Change(metas, at, bool(person.metas)))
        if not person.metas:
            process.local.removed(GROUP, key)

    def _write_changes(self, number: int) -> None:
        for keys in self.alive[number].local.take_unwritten(1).values():
            for key in keys:
                self._write(number, key)

    def _rewrite(self, number: int) -> None:
        self.alive[number].local.mark_all()
        self._write_changes(number)

    def _reap(self, number: int, keys: list[str]) -> None:
        diff = Diff()
        for key in keys or list(self.server.local.get(number, {})):
            is_new, at = self.server.write(number, key, [])
            if is_new:
                diff.add(key, Change([], at, joined=False))
        self.messages.append(diff)

    def _send(self, process: Process) -> None:
        for batch in batches(list(process.diff), lambda _: 30_000):
            self.messages.append(Diff({key: process.diff.pop(key) for key in batch}))

    def _look_at(self, message: Diff) -> None:
        for key, change in message.items():
            if change.at > self.seen.get(key, (False, 0))[1]:
                self.seen[key] = change.joined, change.at


PresenceModel.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, database=None
)
TestPresence = PresenceModel.TestCase


@pytest.fixture
def clock() -> Clock:
    """Return a clock that the test sets."""
    return Clock()


@pytest.fixture
def people(clock: Clock) -> LocalPresence:
    """Return the people of a process that has none yet."""
    return local_presence(clock)


def test_back_before_the_leave_is_written(people: LocalPresence, clock: Clock) -> None:
    """A person who comes back while Redis forgets the person stays."""
    people.track(GROUP, "a", "ann", "1", GRACE)
    people.untrack(GROUP, "a")
    clock.advance(GRACE)
    people.take_unwritten(1)
    people.track(GROUP, "b", "ann", "1", GRACE)
    people.removed(GROUP, "ann")
    assert people.find(GROUP, "ann") is not None


def test_latest_change_counts() -> None:
    """A diff has one change for a person, the latest, in whatever order they are added."""
    diff = Diff()
    diff.add("ann", Change(["1"], 2, joined=True))
    diff.add("ann", Change(["1"], 1, joined=False))
    assert diff["ann"].joined
    diff.add("ann", Change(["1"], 3, joined=False))
    diff.add("bob", Change(["1"], 4, joined=True))
    message = diff.message(GROUP, ["ann", "bob"])
    assert (message["joins"], message["leaves"]) == ({"bob": [1]}, {"ann": [1]})
    assert message["at"] == {"ann": 3, "bob": 4}
