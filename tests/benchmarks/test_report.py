"""Ratios, verdicts and a table from measurements."""

from __future__ import annotations

import math

import pytest

from benchmarks.catalogue import CATALOGUE, AtLeast, Under, Work, works
from benchmarks.report import Outcome, in_unit, table


def outcome(
    theirs: list[float], ours: list[float], floor: AtLeast | Under, unit: str = "ms"
) -> Outcome:
    """Make an outcome without running the work."""
    work = Work("walk", "a walk", lambda _bench: None, unit, {"queue": floor})
    return Outcome(work, "queue", theirs, ours)


def test_ratio_is_the_median_of_the_pairs() -> None:
    """A round in which the machine was slow for both sides does not move the ratio."""
    assert outcome([2.0, 40.0, 6.0], [1.0, 10.0, 2.0], AtLeast(1)).ratio == 3.0


@pytest.mark.parametrize(("floor", "good"), [(3.0, True), (3.1, False)])
def test_ratio_is_held_against_its_floor(floor: float, good: bool) -> None:  # noqa: FBT001
    """A ratio at its floor is good enough, one below is not."""
    assert outcome([6.0], [2.0], AtLeast(floor)).good is good


@pytest.mark.parametrize(("limit", "good"), [(2.0, False), (2.1, True)])
def test_figure_is_held_against_its_limit(limit: float, good: bool) -> None:  # noqa: FBT001
    """A limit is for our own figure, and must not be reached, whatever theirs is."""
    assert outcome([900.0], [2.0], Under(limit)).good is good


def test_nothing_is_good_about_failed_work() -> None:
    """Work that failed has no figures, is not good, and says so in the table."""
    failed = outcome([], [], AtLeast(1))
    assert not failed.good
    assert math.isnan(failed.ratio)
    assert "| failed |" in table([failed])


@pytest.mark.parametrize(("unit", "told"), [("ms", 4.0), ("msg/s", 250.0), ("bytes", 0.004)])
def test_seconds_are_told_in_the_unit_of_the_work(unit: str, told: float) -> None:
    """Seconds an operation become milliseconds or a rate; counts stay counts."""
    assert in_unit(0.004, unit) == told


def test_table_lines_up() -> None:
    """Every line of the table is equally long, with the figures of both sides."""
    lines = table(
        [
            outcome([0.012], [0.004], AtLeast(2)),
            outcome([3_852_200.0], [512.0], Under(100), unit="bytes"),
        ]
    ).splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.split("|")[4:9]] for line in lines[2:]]
    assert cells == [
        ["12.0", "4.000", "3.00x", "2x", "ok"],
        ["3,852,200", "512.0", "7523.83x", "< 100", "below"],
    ]


def test_unknown_work_is_refused_with_the_names_there_are() -> None:
    """A name that is not measured on the layer gives an error that lists those which are."""
    with pytest.raises(ValueError, match=r"no work named 'drain' here; there are: latency, "):
        works(["pubsub"], ["drain"])


def test_named_work_is_chosen_on_each_layer_that_has_it() -> None:
    """A name picks the work on both layers, or on the one that it is measured on."""
    chosen = works(["queue", "pubsub"], ["drain", "churn"])
    assert [(layer, work.name) for layer, work in chosen] == [
        ("queue", "churn"),
        ("queue", "drain"),
        ("pubsub", "churn"),
    ]


def test_names_of_the_work_are_different() -> None:
    """No piece of work hides another of its name."""
    assert len({work.name for work in CATALOGUE}) == len(CATALOGUE)
