"""The checker finds messages that browsers miss in silence, and nothing where all is well."""

from __future__ import annotations

import pytest

from soak.checker import check
from soak.history import BrowserEvent, Fault, History, Send
from soak.journal import OK, RECOVERABLE, UNKNOWN

GROUP = "kept-1"


class Story:
    """A browser's diary, and the five messages of one sender to its group."""

    def __init__(self, outcome: str = OK) -> None:
        self.history = History(healed=900.0, stopped=980.0, ended=1000.0)
        self.history.sends = {
            number: Send(
                number, "s", RECOVERABLE, GROUP, 10.0 * number, "a", 10.0 * number + 1, outcome
            )
            for number in range(1, 6)
        }
        self.tell("connected", 5.0)

    def tell(self, kind: str, at: float, number: int = 0, *, recovered: bool = True) -> None:
        """Add to the diary."""
        event = BrowserEvent(kind, GROUP, at, number, recovered)
        self.history.browsers.setdefault("0/0", []).append(event)

    def show(self, *numbers: int) -> None:
        """Show messages, each some seconds after it was sent."""
        for number in numbers:
            self.tell("shown", 10.0 * number + 5, number)

    def promises(self) -> list[str]:
        """Return the promises that the checker finds broken."""
        return [violation.promise for violation in check(self.history)]


def test_all_is_well() -> None:
    """A browser that was shown all messages in order has nothing to complain of."""
    story = Story()
    story.show(1, 2, 3, 4, 5)
    assert story.promises() == []


@pytest.mark.parametrize("missing", [1, 3, 5])
def test_message_lost_in_silence(missing: int) -> None:
    """The first, one in between, and the last."""
    story = Story()
    story.show(*({1, 2, 3, 4, 5} - {missing}))
    assert story.promises() == ["nothing lost in silence"]


@pytest.mark.parametrize("by", ["notice", "connect"])
def test_message_lost_and_told(by: str) -> None:
    """By a notice, or by the answer to a reconnect."""
    story = Story()
    story.show(1, 2)
    if by == "notice":
        story.tell("told", 37.0)
    else:
        story.tell("disconnect", 28.0)
        story.tell("connect", 36.0)
        story.tell("connected", 37.0, recovered=False)
    story.show(4, 5)
    assert story.promises() == []


def test_told_of_another_gap() -> None:
    """A notice explains what is missing there, not what is missing elsewhere."""
    story = Story()
    story.show(2)
    story.tell("told", 37.0)
    story.show(4, 5)
    assert story.promises() == ["nothing lost in silence"]


def test_recovered_in_word_alone() -> None:
    """A reconnect that claims to have recovered all, and has not."""
    story = Story()
    story.show(1, 2)
    story.tell("disconnect", 28.0)
    story.tell("connect", 36.0)
    story.tell("connected", 37.0)
    story.show(4, 5)
    assert story.promises() == ["nothing lost in silence"]


def test_shown_twice() -> None:
    """The same message again."""
    story = Story()
    story.show(1, 2)
    story.tell("shown", 27.0, 2)
    story.show(3, 4, 5)
    assert story.promises() == ["shown once"]


def test_shown_out_of_order() -> None:
    """A later message of a sender before an earlier one."""
    story = Story()
    story.show(1)
    for number in (3, 2):
        story.tell("shown", 38.0, number)
    story.show(4, 5)
    assert story.promises() == ["shown in order"]


def test_browser_that_does_not_come_back() -> None:
    """A message that it has missed since breaks no promise."""
    story = Story()
    story.show(1, 2)
    story.tell("disconnect", 28.0)
    assert story.promises() == []


def test_message_that_may_not_have_been_sent() -> None:
    """The sender got an error, so nothing was promised."""
    story = Story(UNKNOWN)
    story.show(1, 2, 4, 5)
    assert story.promises() == []


def test_tail_that_no_one_had_read() -> None:
    """A server that came back with an older state has forgotten message and position."""
    story = Story()
    story.show(1, 2, 4, 5)
    story.history.faults.append(Fault("restarted", 32.0, 33.0, since=28.0))
    assert story.promises() == []
