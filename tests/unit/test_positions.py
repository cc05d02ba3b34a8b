"""Entries of histories, and what a read of them returns: nothing is missing in silence."""

from __future__ import annotations

import pytest

from channels_redis_shared.history.store import MARK, HistoryEntry, Replay

FIRST, SECOND, THIRD = "1-0.aaaaaaaa", "2-0.bbbbbbbb", "3-0.cccccccc"
HIGHEST = f"{2**64 - 1}-{2**64 - 1}.dddddddd"


def entry(position: str, previous: str) -> HistoryEntry:
    """An entry."""
    return HistoryEntry(position, previous, b"")


@pytest.mark.parametrize(
    "fields",
    [
        [b"n", b"aaaaaaaa", b"p", b""],
        [b"n", b"aaaaaaaa", b"p", b"", b"m", b"", b"x", b""],
        [b"x", b"aaaaaaaa", b"p", b"", b"m", b""],
        [b"n", b"\xff\xfe", b"p", b"", b"m", b""],
        [b"n", b"AAAAAAAA", b"p", b"", b"m", b""],
    ],
)
def test_what_no_layer_wrote_is_no_message(fields: list[bytes]) -> None:
    """Any program may write into a stream."""
    assert HistoryEntry.from_stream((b"1-0", fields)) is None


@pytest.mark.parametrize(
    "previous", [b"\xff", b"rubbish", b"1-0.AAAAAAAA", b"%d-0.aaaaaaaa" % 2**64]
)
def test_a_predecessor_that_is_no_position_is_unknown(previous: bytes) -> None:
    """It may become the place of a channel that joins, which goes to a browser."""
    found = HistoryEntry.from_stream((b"2-0", [b"n", b"bbbbbbbb", b"p", previous, b"m", b"data"]))
    assert found is not None
    assert (found.position, found.previous, found.data) == (SECOND, "", b"data")
    if previous != b"\xff":
        wire = MARK + SECOND.encode() + b" " + previous + b"\ndata"
        published = HistoryEntry.from_wire(wire)
        assert (published.position, published.previous, published.data) == (SECOND, "", b"data")


def test_a_removed_entry_is_missing() -> None:
    """One that was deleted amid the others, or at the end, is no end of the history."""
    first, second, third = entry(FIRST, ""), entry(SECOND, FIRST), entry(THIRD, SECOND)
    amid = Replay(THIRD, [first, third])
    assert (amid.after(FIRST), amid.after(SECOND), amid.after(THIRD)) == (None, None, [])
    at_end = Replay(THIRD, [first, second])
    assert (at_end.after(FIRST), at_end.after(SECOND), at_end.position) == (None, None, THIRD)
    assert at_end.after(THIRD) == []
    whole = Replay(THIRD, [second, third])
    assert (whole.after(FIRST), whole.after(SECOND)) == ([second, third], [third])


@pytest.mark.parametrize("position", [FIRST, HIGHEST])
def test_a_position_that_another_program_wrote(position: str) -> None:
    """Members do not go back, and do not take what is there for all."""
    replay = Replay(position, [entry(SECOND, FIRST), entry(THIRD, SECOND)])
    assert replay.position == max(THIRD, position, key=lambda one: int(one.partition("-")[0]))
    assert replay.after(SECOND) is None
