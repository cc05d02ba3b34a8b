"""Spans of time in which faults may delay a message, and the rest, in which none does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Span = tuple[float, float]


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the same time in spans that do not overlap, in order."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def longest_gap(spans: Iterable[Span], begin: float, end: float) -> float:
    """Return the seconds of the longest part of a time that no span touches."""
    longest, at = 0.0, begin
    for first, last in merged(spans):
        if first >= end:
            break
        longest = max(longest, first - at)
        at = max(at, last)
    return max(longest, end - at) if end > at else longest


def overlaps(spans: Iterable[Span], begin: float, end: float) -> bool:
    """Return whether any span has a moment in common with a time."""
    return any(first <= end and begin <= last for first, last in spans)
