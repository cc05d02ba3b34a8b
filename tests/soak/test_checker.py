"""The checker finds each violation in a small history, and nothing where all is well.

The histories are in stories.txt: a title, the layers, and facts about the run; then what happens,
with times in seconds; and after each ``=>`` the promises that the checker finds broken by then.
There are a channel of each of two processes, ``mine`` of a and ``other`` of b, a group ``all``, and
messages whose numbers are those of their sends. The story of a browser has five recoverable
messages, sent at 10, 20, ... seconds, and what the browser shows.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from soak import journal
from soak.checker import check
from soak.history import (
    BrowserEvent,
    Busy,
    Channel,
    Failure,
    Fault,
    History,
    Membership,
    Notice,
    Receipt,
    Send,
)

NAMES = {"mine": "specific.a!1", "other": "specific.b!1"}
BROWSER = "browser 0/0"
STORIES = {
    title: (facts.split(), lines.strip().splitlines())
    for title, facts, lines in re.findall(
        r"^(\w.*): (.+)\n((?:  .+\n)+)",
        Path(__file__).with_name("stories.txt").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
}


def value(text: str) -> Any:
    """Read a number, or a word."""
    try:
        return float(text)
    except ValueError:
        return NAMES.get(text, text)


class Story:
    """A history from 0 s to 1,000 s, built step by step: a method for each kind of step."""

    def __init__(self, layer: str, facts: dict[str, Any]) -> None:
        self.outcome = facts.pop("outcome", journal.OK)
        known = {"expiry": 30, "healed": 900.0, "stopped": 980.0, "ended": 1000.0, **facts}
        self.history = History("queue" if layer == "browser" else layer, **known)
        self._ids = itertools.count(1)
        self.open(NAMES["mine"], "a")
        self.open(NAMES["other"], "b")
        if layer == "browser":
            self.history.channels.clear()
            self.event("connected", 5.0)
            for at in (10.0, 20.0, 30.0, 40.0, 50.0):
                self.send(at, "kept-1", self.outcome, took=1.0)

    def open(self, name: str, by: str, readers: float = 1) -> None:
        """Open a channel."""
        channel = Channel(name, by, 0.0, general="!" not in name, readers=int(readers))
        self.history.channels.append(channel)

    def send(self, at: float, *words: str, took: float = 0.01, by: str = "s") -> None:
        """Send a message to a channel or to the group."""
        outcome = next((word for word in words if word in {"failed", "unknown"}), journal.OK)
        to = next((word for word in words if word not in {outcome, journal.OK}), NAMES["mine"])
        kinds = {"all": journal.GROUP, "kept-1": journal.RECOVERABLE}
        kind = journal.DIRECT if "!" in to else kinds.get(to, journal.GENERAL)
        error = "" if outcome == journal.OK else "ChannelFull()"
        number = next(self._ids)
        send = Send(number, by, kind, to, at, "a", at + took, outcome, error)
        self.history.sends.append(send)

    def got(self, number: float, at: float, channel: str = NAMES["mine"], by: str = "") -> None:
        """Receive a message."""
        by = by or channel.removeprefix("specific.")[0]
        self.history.receipts.append(Receipt(int(number), channel, by, at))

    def join(self, channel: str, added: float, **known: float) -> None:
        """Add a channel to the group."""
        self.history.memberships.append(Membership("all", channel, added - 0.1, added, **known))

    def fault(self, begin: float, end: float, *words: str, **known: Any) -> None:
        """Break something."""
        known |= dict.fromkeys(words, True)
        self.history.faults.append(Fault("fault", begin, end, **known))

    def notice(self, kind: str, at: float) -> None:
        """Notify the channel that an outage has begun (lost), or ended (back)."""
        self.history.notices.append(Notice(f"soak.{kind}", NAMES["mine"], "a", at))

    def busy(self, begin: float, end: float) -> None:
        """Let the consumer do something else."""
        self.history.busy.append(Busy(NAMES["mine"], "a", begin, end - begin))

    def closes(self, at: float) -> None:
        """End the channel."""
        self.history.channels[0].closed = at

    def raised(self, call: str) -> None:
        """Let a call raise."""
        failure = Failure(call, NAMES["mine"], "a", 100, "RuntimeError()")
        self.history.failures.append(failure)

    def shown(self, *numbers: float) -> None:
        """Show messages some seconds after they were sent, and after what came before."""
        for number in numbers:
            latest = self.history.browsers[-1].at
            self.got(number, max(10.0 * number + 5, latest), BROWSER, "a")

    def event(self, kind: str, at: float, *words: str) -> None:
        """Let something else happen to the browser."""
        self.history.browsers.append(BrowserEvent(BROWSER, kind, "kept-1", at, not words))


@pytest.mark.parametrize(
    ("title", "layer"),
    [
        (title, layer)
        for title, (facts, _) in STORIES.items()
        for layer in facts
        if layer in {"queue", "pubsub", "browser"}
    ],
)
def test_story(title: str, layer: str) -> None:
    """The checker finds what the story says."""
    facts, lines = STORIES[title]
    known = dict(fact.split("=") for fact in facts if "=" in fact)
    story = Story(layer, {name: value(text) for name, text in known.items()})
    for line in lines:
        _, arrow, expected = line.partition("=> ")
        if not arrow:
            for step in line.strip().split(", "):
                name, *words = step.split()
                options = dict(word.split("=") for word in words if "=" in word)
                plain = [value(word) for word in words if "=" not in word]
                getattr(story, name)(*plain, **{key: value(text) for key, text in options.items()})
            continue
        found = sorted(violation.promise for violation in check(story.history))
        promises, _, times = expected.removesuffix(" times").rpartition(" ")
        if expected.endswith(" times"):
            assert found == [promises] * int(times)
        else:
            assert found == sorted(expected.split(", ") if expected != "nothing" else [])
