"""The checker finds messages that browsers miss in silence, and nothing where all is well."""

from __future__ import annotations

import pytest

from soak.checker import check
from soak.history import BrowserEvent, Fault, History, Send
from soak.journal import OK, RECOVERABLE, UNKNOWN

GROUP = "kept-1"


SILENT = "nothing lost in silence"
GONE = ("disconnect", 28.0)
BACK = (GONE, ("connect", 36.0), ("connected", 37.0))

# The numbers of messages as they are shown, and other events with their times; and the promises
# that the checker finds broken.
DIARIES: dict[str, tuple[list[int | tuple[str, float]], list[str]]] = {
    "all": ([1, 2, 3, 4, 5], []),
    "without the first": ([2, 3, 4, 5], [SILENT]),
    "without one in between": ([1, 2, 4, 5], [SILENT]),
    "without the last": ([1, 2, 3, 4], [SILENT]),
    "a gap with a notice": ([1, 2, ("told", 37.0), 4, 5], []),
    "two gaps, one with a notice": ([2, ("told", 37.0), 4, 5], [SILENT]),
    "a gap that a reconnect tells": ([1, 2, *BACK[:2], ("not recovered", 37.0), 4, 5], []),
    "a gap that a reconnect denies": ([1, 2, *BACK, 4, 5], [SILENT]),
    "one twice": ([1, 2, 2, 3, 4, 5], ["shown once"]),
    "two swapped": ([1, 3, 2, 4, 5], ["shown in order"]),
    "a browser that does not come back": ([1, 2, GONE], []),
}


def history_of(diary: list[int | tuple[str, float]], outcome: str = OK) -> History:
    """Return a history of five messages of one sender to a group, with a browser's diary."""
    history = History(healed=900.0, stopped=980.0, ended=1000.0)
    history.sends = {
        number: Send(
            number, "s", RECOVERABLE, GROUP, 10.0 * number, "a", 10.0 * number + 1, outcome
        )
        for number in range(1, 6)
    }
    events = [BrowserEvent("connected", GROUP, 5.0)]
    for entry in diary:
        if isinstance(entry, int):
            # Some seconds after it was sent, and after what came before it.
            at = max(10.0 * entry + 5, events[-1].at)
            events.append(BrowserEvent("shown", GROUP, at, entry))
        elif entry[0] == "not recovered":
            events.append(BrowserEvent("connected", GROUP, entry[1], recovered=False))
        else:
            events.append(BrowserEvent(entry[0], GROUP, entry[1]))
    history.browsers["0/0"] = events
    return history


def broken(history: History) -> list[str]:
    """Return the promises that the checker finds broken."""
    return [violation.promise for violation in check(history)]


@pytest.mark.parametrize(("diary", "promises"), DIARIES.values(), ids=DIARIES)
def test_diary(diary: list[int | tuple[str, float]], promises: list[str]) -> None:
    """The checker finds the promises that a diary breaks, and no others."""
    assert broken(history_of(diary)) == promises


def test_message_that_may_not_have_been_sent() -> None:
    """The sender got an error, so nothing was promised."""
    assert broken(history_of([1, 2, 4, 5], UNKNOWN)) == []


def test_tail_that_no_one_had_read() -> None:
    """A server that came back with an older state has forgotten message and position."""
    history = history_of([1, 2, 4, 5])
    history.faults.append(Fault("restarted", 32.0, 33.0, since=28.0))
    assert broken(history) == []
