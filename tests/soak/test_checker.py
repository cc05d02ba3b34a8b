"""The checker finds each violation in a small history, and nothing where all is well."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from soak.checker import check
from soak.history import (
    Channel,
    Failure,
    Fault,
    History,
    Membership,
    Notice,
    Receipt,
    Send,
)
from soak.journal import BACK, DIRECT, FAILED, GENERAL, GROUP, LOST, OK, UNKNOWN

MINE, OTHER = "specific.a!1", "specific.b!1"
KINDS = ("queue", "pubsub")


class Story:
    """A history with a consumer in each of two processes, from 0 s to 1,000 s."""

    def __init__(self, layer: str = "queue", **known: Any) -> None:
        known = {"expiry": 30, "healed": 900.0, "stopped": 980.0, "ended": 1000.0, **known}
        self.history = History(layer, **known)
        self._ids = itertools.count(1)
        for name, by in ((MINE, "a"), (OTHER, "b")):
            self.channel(name, by)

    def channel(self, name: str, by: str, opened: float = 0.0, **known: Any) -> Channel:
        """Open a channel."""
        channel = Channel(name, by, opened, general="!" not in name, **known)
        self.history.channels.append(channel)
        return channel

    def send(
        self, at: float, to: str = MINE, *, outcome: str = OK, took: float = 0.01, sender: str = "s"
    ) -> int:
        """Send a message, and return its number."""
        number = next(self._ids)
        kind = DIRECT if "!" in to else GROUP if to == "all" else GENERAL
        error = "" if outcome == OK else "ChannelFull()"
        self.history.sends[number] = Send(
            number, sender, kind, to, at, "a", at + took, outcome, error
        )
        return number

    def got(self, number: int, at: float, channel: str = MINE, by: str = "") -> None:
        """Receive a message."""
        by = by or channel.removeprefix("specific.")[0]
        self.history.receipts.append(Receipt(number, channel, by, at))

    def join(self, channel: str = MINE, added: float = 1.0, **known: float) -> None:
        """Add a channel to the group."""
        member = Membership("all", channel, added - 0.1, added, **known)
        self.history.memberships.append(member)

    def fault(self, begin: float, end: float, **known: Any) -> None:
        """Break something."""
        self.history.faults.append(Fault("fault", begin, end, **known))

    def notice(self, kind: str, at: float, channel: str = MINE) -> None:
        """Let the layer tell a channel of an outage."""
        by = channel.removeprefix("specific.")[0]
        self.history.notices.append(Notice(kind, channel, by, at))

    @property
    def broken(self) -> list[str]:
        """The promises that were not kept."""
        return [violation.promise for violation in check(self.history)]


@pytest.mark.parametrize("layer", KINDS)
def test_nothing_is_wrong(layer: str) -> None:
    """Messages of each kind, that came as they should."""
    story = Story(layer)
    for name in (MINE, OTHER):
        story.join(name)
    story.channel("jobs", "a", readers=2)
    story.got(story.send(100), 100.1)
    grouped = story.send(101, "all")
    story.got(grouped, 101.1)
    story.got(grouped, 101.1, OTHER)
    story.got(story.send(102, "jobs"), 102.1, "jobs", "a")
    assert story.broken == []


@pytest.mark.parametrize("layer", KINDS)
def test_a_message_that_was_never_sent(layer: str) -> None:
    """It came out of nowhere."""
    story = Story(layer)
    story.got(99, 10)
    assert story.broken == ["only what was sent to it"]


def test_a_message_of_another_channel() -> None:
    """It was sent, but not to this one; the one that it was sent to misses it."""
    story = Story()
    story.got(story.send(100), 100.1, OTHER)
    assert sorted(story.broken) == ["nothing lost", "only what was sent to it"]


def test_a_message_before_it_was_sent() -> None:
    """Clocks of one machine are one."""
    story = Story()
    story.got(story.send(100), 99.9)
    assert story.broken == ["only what was sent to it"]


@pytest.mark.parametrize("layer", KINDS)
def test_a_message_came_twice(layer: str) -> None:
    """Even if the server went back in time: a process remembers what it had."""
    story = Story(layer)
    number = story.send(100)
    story.got(number, 100.1)
    story.fault(101, 102, since=99)
    story.got(number, 103)
    assert story.broken == ["never twice"]


@pytest.mark.parametrize(
    ("since", "broken"), [(None, ["never twice"]), (99.0, []), (103.0, ["never twice"])]
)
def test_a_general_message_came_twice(since: float | None, broken: list[str]) -> None:
    """It may come to another worker if the server went back to a time before it was received."""
    story = Story()
    for by in "ab":
        story.channel("jobs", by)
    number = story.send(100, "jobs")
    story.got(number, 100.1, "jobs", "a")
    if since is not None:
        story.fault(104, 105, since=since)
    story.got(number, 106, "jobs", "b")
    assert story.broken == broken


def test_each_process_gets_a_general_message_of_pubsub() -> None:
    """Once; a second time is one too many, and none is one too few."""
    story = Story("pubsub")
    for by in "abc":
        story.channel("jobs", by)
    number = story.send(100, "jobs")
    for by in "aab":
        story.got(number, 100.1, "jobs", by)
    story.got(number, 100.2, "jobs", "a")
    assert story.broken == ["nothing lost", "never twice"]


@pytest.mark.parametrize("layer", KINDS)
def test_two_messages_of_a_sender_were_swapped(layer: str) -> None:
    """A direct one and one to the group; those of different senders have no order."""
    story = Story(layer)
    story.join()
    first, other, second = story.send(100, "all"), story.send(101, sender="t"), story.send(102)
    for number in (second, first, other):
        story.got(number, 103)
    assert story.broken == ["order of each sender"]


def test_hosts_of_pubsub_have_an_order_each() -> None:
    """A channel and its group may live on different ones."""
    story = Story("pubsub", hosts=2)
    story.join()
    first, second = story.send(100, "all"), story.send(101)
    third, fourth = story.send(102), story.send(103)
    for number in (second, first, fourth, third):
        story.got(number, 104)
    assert story.broken == ["order of each sender"]


def test_what_raised_may_come_late() -> None:
    """It may lie in a connection that was given up."""
    story = Story()
    first, second = story.send(100, outcome=UNKNOWN), story.send(101)
    story.got(second, 101.1)
    story.got(first, 103)
    assert story.broken == []


@pytest.mark.parametrize(("readers", "broken"), [(1, ["order of each sender"]), (2, [])])
def test_a_general_channel_has_an_order_with_one_reader(readers: int, broken: list[str]) -> None:
    """Two readers note in any order what they got in turn."""
    story = Story()
    story.channel("solo", "a", readers=readers)
    first, second = story.send(100, "solo"), story.send(101, "solo")
    story.got(second, 102, "solo", "a")
    story.got(first, 102, "solo", "a")
    assert story.broken == broken


def test_a_message_was_delivered_late() -> None:
    """It should have expired."""
    story = Story()
    story.fault(99, 140)
    story.got(story.send(100), 140)
    assert story.broken == ["never late"]


@pytest.mark.parametrize(("process", "broken"), [("a", []), ("b", ["never late"])])
def test_messages_of_pubsub_age_in_their_process(process: str, broken: list[str]) -> None:
    """They have no date, so a process that was stopped gets what came meanwhile."""
    story = Story("pubsub")
    story.fault(99, 140, process=process, silent=True)
    story.got(story.send(100), 142.5)
    assert story.broken == broken


@pytest.mark.parametrize("layer", KINDS)
@pytest.mark.parametrize("to", [MINE, "all"])
def test_a_message_was_lost(layer: str, to: str) -> None:
    """A direct one, or one to a member, with nothing wrong."""
    story = Story(layer)
    story.join()
    story.send(100, to)
    assert story.broken == ["nothing lost" if to == MINE else "members exactly once"]


@pytest.mark.parametrize(("layer", "broken"), [("queue", ["members exactly once"]), ("pubsub", [])])
def test_who_leaves_before_it_reads(layer: str, broken: list[str]) -> None:
    """A message that came while the process was stopped: with Pub/Sub it may be missed."""
    story = Story(layer)
    story.join(leaving=110.01, left=110.02)
    story.fault(99, 110, process="a", silent=True)
    story.send(100, "all")
    assert story.broken == broken


def test_one_of_two_members_missed_a_message() -> None:
    """The other one has it."""
    story = Story()
    for name in (MINE, OTHER):
        story.join(name)
    story.got(story.send(100, "all"), 100.1)
    assert story.broken == ["members exactly once"]


@pytest.mark.parametrize("layer", KINDS)
def test_who_joins_or_leaves_meanwhile_may_miss_it(layer: str) -> None:
    """Or get it."""
    story = Story(layer)
    story.join(MINE, added=100.5)
    story.join(OTHER, leaving=100.5, left=101)
    number = story.send(100.4, "all", took=0.3)
    assert story.broken == []
    story.got(number, 101)
    story.got(number, 101, OTHER)
    assert story.broken == []


@pytest.mark.parametrize("layer", KINDS)
@pytest.mark.parametrize("left", [True, False])
def test_an_outsider_was_served(layer: str, *, left: bool) -> None:
    """One that has left before the message was sent, or was never a member."""
    story = Story(layer)
    if left:
        story.join(leaving=99.0, left=99.1)
    story.got(story.send(100, "all"), 100.1)
    assert story.broken == ["members alone"]


def test_who_joins_much_later_is_not_served() -> None:
    """Unless the message was held up until then."""
    story = Story()
    number = story.send(100, "all")
    story.join(added=120)
    story.got(number, 120.1)
    assert story.broken == ["members alone"]
    story.fault(99, 119)
    assert story.broken == []


def test_a_server_that_loses_everything_loses_what_waits() -> None:
    """And no message that had time to be received before, or that was sent after."""
    story = Story()
    story.fault(100, 101, since=-1e9)
    story.send(99.5)
    assert story.broken == []
    story.send(80)
    story.send(101.5)
    assert story.broken == ["nothing lost"] * 2


def test_a_server_that_goes_back_a_second_keeps_what_is_older() -> None:
    """It waits while the process is stopped, and has to arrive after that."""
    story = Story()
    story.fault(90, 105, process="a")
    story.fault(100, 101, since=99)
    story.send(99.5)
    assert story.broken == []
    story.send(95)
    assert story.broken == ["nothing lost"]


def test_killed_connections_lose_nothing() -> None:
    """Nor does a server that is away for a while."""
    story = Story()
    story.fault(100, 100)
    story.fault(105, 110)
    story.send(99.9)
    assert story.broken == ["nothing lost"]


def test_a_stopped_process_loses_what_expires() -> None:
    """And nothing else."""
    story = Story()
    story.fault(100, 190, process="a")
    story.send(101)
    assert story.broken == []
    story.send(185)
    story.send(101, OTHER)
    assert story.broken == ["nothing lost"] * 2


def test_a_busy_consumer_loses_what_expires() -> None:
    """And nothing else."""
    story = Story()
    story.history.channels[0].busy.append((100, 140))
    story.send(101)
    assert story.broken == []
    story.send(130)
    assert story.broken == ["nothing lost"]


@pytest.mark.parametrize(("closed", "broken"), [(101.0, []), (120.0, ["nothing lost"])])
def test_a_channel_that_closes_may_leave_something(closed: float, broken: list[str]) -> None:
    """It need not receive messages that were sent just before."""
    story = Story()
    story.history.channels[0].closed = closed
    story.send(100)
    assert story.broken == broken


def test_a_process_that_is_stopped_for_long_misses_group_messages() -> None:
    """It counts as gone after a while, until it is back; direct messages wait for it."""
    story = Story(expiry=600)
    story.join()
    story.fault(100, 190, process="a")
    story.send(150, "all")
    assert story.broken == []
    story.send(110, "all")
    story.send(150)
    assert story.broken == ["members exactly once", "nothing lost"]


def test_a_killed_process_takes_some_general_messages_with_it() -> None:
    """One for each waiting `receive`, and five more; not a single one without a kill."""
    story = Story()
    for by in "bc":
        story.channel("jobs", by, readers=2)
    for at in range(8):
        story.send(90 + at / 10, "jobs")
    assert story.broken == ["nothing lost"] * 8
    story.fault(200, 200, process="c", killed=True)
    assert story.broken == ["nothing lost"]


def test_pubsub_loses_in_announced_outages() -> None:
    """And neither before nor after one, nor to another channel."""
    story = Story("pubsub")
    story.fault(100, 101)
    story.notice(LOST, 100.5)
    story.notice(BACK, 104)
    story.send(100)
    story.send(103)
    assert story.broken == []
    story.send(97)
    story.send(107)
    story.send(103, OTHER)
    assert story.broken == ["nothing lost"] * 3


@pytest.mark.parametrize(("silent", "broken"), [(True, []), (False, ["nothing lost"])])
def test_pubsub_notices_silence_late(silent: bool, broken: list[str]) -> None:  # noqa: FBT001
    """Within 25 s; a closed connection it notices at once."""
    story = Story("pubsub")
    story.fault(100, 130, silent=silent)
    story.notice(LOST, 125)
    story.notice(BACK, 131)
    story.send(105)
    assert story.broken == broken


@pytest.mark.parametrize(("split", "broken"), [(True, []), (False, ["nothing lost"])])
def test_pubsub_has_two_masters(split: bool, broken: list[str]) -> None:  # noqa: FBT001
    """Until the old one knows of the new one, each has its own publishers and subscribers."""
    story = Story("pubsub")
    story.fault(100, 110, split=split)
    story.send(105)
    assert story.broken == broken


def test_a_pubsub_channel_is_never_told_that_all_is_back() -> None:
    """Each outage ends, unless the channel ends first; what is lost until then was announced."""
    story = Story("pubsub")
    story.notice(LOST, 100)
    story.send(105)
    assert story.broken == ["each outage ends"]
    story.history.channels[0].closed = 106
    assert story.broken == []


def test_a_refused_message_arrived() -> None:
    """Its sender got ChannelFull, and may send it once more."""
    story = Story()
    story.got(story.send(100, outcome=FAILED), 100.1)
    assert story.broken == ["refused is not sent"]


@pytest.mark.parametrize(
    ("call", "broken"),
    [("receive", "no exception out of receive"), ("group_add", "errors of the server alone")],
)
def test_a_call_raised(call: str, broken: str) -> None:
    """No error may come out of `receive`, and no strange one out of the other calls."""
    story = Story()
    story.history.failures.append(Failure(call, MINE, "a", 100, "RuntimeError()"))
    assert story.broken == [broken]


@pytest.mark.parametrize("took", [13.0, float("inf")])
def test_a_call_took_too_long(took: float) -> None:
    """Or never ended; the time in which its process was stopped does not count."""
    story = Story()
    story.send(100, took=took, outcome=UNKNOWN)
    assert story.broken == ["send raises after 5 s"]
    story.fault(100, 1000, process="a")
    assert story.broken == []


def test_a_call_that_its_process_did_not_survive() -> None:
    """It never ended, and that is no fault of the layer."""
    story = Story()
    story.send(100, took=float("inf"), outcome=UNKNOWN)
    story.fault(101, 101, process="a", killed=True)
    assert story.broken == []


def test_a_call_fails_after_all_has_healed() -> None:
    """Ten seconds after it, nothing may; before that it may."""
    story = Story()
    story.send(905, outcome=UNKNOWN)
    assert story.broken == []
    story.send(911, outcome=UNKNOWN)
    assert story.broken == ["everything flows after 10 s"]


def test_a_message_crawls_after_all_has_healed() -> None:
    """It arrives, but late."""
    story = Story()
    story.got(story.send(911), 925)
    assert story.broken == ["everything flows after 10 s"]
