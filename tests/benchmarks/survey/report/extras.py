"""The parts of the results that not every run has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.survey.results import Results

    Entries = list[dict[str, Any]]


def growth(results: Results) -> Entries:
    """Return how the cost grows: a dict for each axis and contender."""
    return list(getattr(results, "growth", None) or [])


def projection(results: Results) -> Entries:
    """Return what some nodes carry: a dict for each contender and number of nodes."""
    return list(getattr(results, "projection", None) or [])


def assumptions(results: Results) -> list[str]:
    """Return what the projection takes for granted."""
    return list(getattr(results, "assumptions", None) or [])


def profiles(results: Results) -> Entries:
    """Return where the time goes: a dict for each contender, work and side."""
    return list(getattr(results, "profiles", None) or [])


def soak(results: Results) -> dict[str, Any]:
    """Return what the long run found, by layer; nothing when there was none."""
    return dict((getattr(results, "soak", None) or {}).get("layers") or {})


def soak_minutes(results: Results) -> float:
    """Return how long the long run took."""
    return float((getattr(results, "soak", None) or {}).get("minutes", 0))
