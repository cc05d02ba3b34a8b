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
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from soak import journal
from soak.checker import check
from soak.history import RECORDS, History

NAMES = {"mine": "specific.a!1", "other": "specific.b!1"}
BROWSER = "browser 0/0"


def value(text: str) -> Any:
    """Read a number, or a word."""
    try:
        return float(text)
    except ValueError:
        return NAMES.get(text, text)


def values(text: str) -> tuple[list[Any], dict[str, Any]]:
    """Read words, and what stands as ``name=value`` between them."""
    named = dict(word.split("=") for word in text.split() if "=" in word)
    plain = [value(word) for word in text.split() if "=" not in word]
    return plain, {name: value(word) for name, word in named.items()}


# Of each title, the layers and the facts, and the lines below.
STORIES = {
    title: (*values(facts), lines.splitlines())
    for title, facts, lines in re.findall(
        r"^(\w.*): (.+)\n((?:  .+\n)+)",
        Path(__file__).with_name("stories.txt").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
}


class Story:
    """A history from 0 s to 1,000 s, built step by step: a method for each kind of step."""

    def __init__(self, layer: str, outcome: str = journal.OK, **facts: Any) -> None:
        facts = {"expiry": 30, "healed": 900.0, "stopped": 980.0, "ended": 1000.0, **facts}
        self.history = History("queue" if layer == "browser" else layer, **facts)
        self._ids = itertools.count(1)
        if layer == "browser":
            self.event("connected", 5.0)
            for at in (10.0, 20.0, 30.0, 40.0, 50.0):
                self.send(at, "kept-1", outcome, took=1.0)
        else:
            self.open(NAMES["mine"], "a")
            self.open(NAMES["other"], "b")

    def _add(self, record: str, *details: Any, **known: Any) -> None:
        getattr(self.history, record).append(RECORDS[record](*details, **known))

    def open(self, name: str, by: str, readers: float = 1) -> None:
        """Open a channel."""
        self._add("channels", name, by, 0.0, general="!" not in name, readers=int(readers))

    def send(self, at: float, *words: str, took: float = 0.01, by: str = "s") -> None:
        """Send a message to a channel or to the group."""
        outcome = next((word for word in words if word in {"failed", "unknown"}), journal.OK)
        to = next((word for word in words if word not in {outcome, journal.OK}), NAMES["mine"])
        kinds = {"all": journal.GROUP, "kept-1": journal.RECOVERABLE}
        kind = journal.DIRECT if "!" in to else kinds.get(to, journal.GENERAL)
        error = "" if outcome == journal.OK else "ChannelFull()"
        self._add("sends", next(self._ids), by, kind, to, at, "a", at + took, outcome, error)

    def got(self, number: float, at: float, channel: str = NAMES["mine"], by: str = "") -> None:
        """Receive a message."""
        by = by or channel.removeprefix("specific.")[0]
        self._add("receipts", channel, by, at, int(number))

    def join(self, channel: str, added: float, **known: float) -> None:
        """Add a channel to the group."""
        self._add("memberships", "all", channel, added - 0.1, added, **known)

    def fault(self, begin: float, end: float, *words: str, **known: Any) -> None:
        """Break something."""
        self._add("faults", "fault", begin, end, **dict.fromkeys(words, True), **known)

    def notice(self, kind: str, at: float) -> None:
        """Notify the channel that an outage has begun (lost), or ended (back)."""
        self._add("notices", NAMES["mine"], "a", at, f"soak.{kind}")

    def busy(self, begin: float, end: float) -> None:
        """Let the consumer do something else."""
        self._add("busy", NAMES["mine"], "a", begin, end - begin)

    def closes(self, at: float) -> None:
        """End the channel."""
        self.history.channels[0].closed = at

    def raised(self, call: str) -> None:
        """Let a call raise."""
        self._add("failures", NAMES["mine"], "a", 100, call, "RuntimeError()")

    def shown(self, *numbers: float) -> None:
        """Show messages some seconds after they were sent, and after what came before."""
        for number in numbers:
            latest = self.history.browsers[-1].at
            self.got(number, max(10.0 * number + 5, latest), BROWSER, "a")

    def event(self, kind: str, at: float, *words: str) -> None:
        """Let something else happen to the browser."""
        self._add("browsers", BROWSER, kind, "kept-1", at, not words)


@pytest.mark.parametrize(
    ("title", "layer"), [(title, layer) for title in STORIES for layer in STORIES[title][0]]
)
def test_story(title: str, layer: str) -> None:
    """The checker finds what the story says."""
    _, facts, lines = STORIES[title]
    story = Story(layer, **facts)
    for line in lines:
        steps, arrow, expected = line.strip().partition("=> ")
        for step in steps.split(", ") if steps else ():
            name, _, details = step.partition(" ")
            plain, named = values(details)
            getattr(story, name)(*plain, **named)
        if arrow:
            found = Counter(violation.promise for violation in check(story.history))
            several = {name: f" {count} times" for name, count in found.items() if count > 1}
            names = [name + several.get(name, "") for name in sorted(found)]
            assert (", ".join(names) or "nothing") == expected
