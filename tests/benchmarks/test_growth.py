"""The steps of a growth, and its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.survey.giving import Gave, what_gave
from benchmarks.survey.growth import AXES, Attempt, Axis, climb, figures_of

if TYPE_CHECKING:
    from collections.abc import Callable

AXIS = Axis("members", "members", 2, 20, {"rate": 5})
QUIET = {
    "offered": 1000.0,
    "deliveries": 1000.0,
    "lost": 0.0,
    "failed": 0.0,
    "p99": 0.01,
    "server_cpu": 0.2,
    "client_cpu": 0.3,
    "busiest_client": 0.3,
    "machine_cpu": 0.8,
}
GAVE = Gave("capacity", "lost")


def climbed(attempts: Callable[[int], Attempt]) -> tuple[dict[str, Any], list[int]]:
    """Climb the axis; return the row, and the values that were tried."""
    tried: list[int] = []

    def attempt(_axis: Axis, _name: str, value: int) -> Attempt:
        tried.append(value)
        return attempts(value)

    return climb(AXIS, "queue", attempt), tried


def test_axis_doubles_from_its_start_up_to_its_cap() -> None:
    """The cap itself need not be a step."""
    assert list(AXIS.values()) == [2, 4, 8, 16]


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.name)
def test_each_step_of_an_axis_is_a_whole_load(axis: Axis) -> None:
    """Members can be spread evenly over the processes, and all that the work asks for is there."""
    for value in axis.values():
        parameters = axis.parameters(value)
        assert parameters.keys() == {"members", "processes", "groups", "nodes", "rate"}
        assert parameters["members"] % parameters["processes"] == 0
        assert parameters[axis.name] == value


def test_rate_for_each_group_grows_with_the_groups() -> None:
    """Each group is sent to as often, however many there are."""
    axis = Axis("groups", "", 16, 64, {"members": 1, "rate": 4}, each_group=True)
    assert [axis.parameters(value)["rate"] for value in axis.values()] == [64, 128, 256]


def test_climb_ends_at_the_step_that_gave_twice() -> None:
    """Its figures are kept, and its limit is named."""
    row, tried = climbed(lambda value: Attempt(dict(QUIET), GAVE if value > 4 else None))
    assert tried == [2, 4, 8, 8]
    assert [step["value"] for step in row["steps"]] == [2, 4, 8]
    assert (row["what"], row["gave"], row["gave_at"]) == ("capacity", "lost", 8)


def test_step_that_gave_once_is_tried_again_and_forgiven() -> None:
    """The machine may have been busy for a moment."""
    attempts = iter([Attempt({**QUIET, "deliveries": 5.0}, GAVE), *[Attempt(QUIET, None)] * 4])
    row, tried = climbed(lambda _value: next(attempts))
    assert tried == [2, 2, 4, 8, 16]
    assert row["steps"][0]["figures"] == QUIET
    assert (row["gave"], row["gave_at"]) == ("nothing up to 20", None)


def test_better_of_two_attempts_is_kept() -> None:
    """With limits in both, the one that carried more counts."""
    attempts = iter([Attempt({**QUIET, "deliveries": 9.0}, GAVE), Attempt({}, GAVE)])
    row, _ = climbed(lambda _value: next(attempts))
    assert row["steps"][0]["figures"]["deliveries"] == 9.0


def test_step_that_was_never_done_has_no_figures() -> None:
    """The reason is reported."""
    row, _ = climbed(lambda _value: Attempt({}, Gave("failure", "not done within 40 s")))
    assert (row["steps"], row["gave"]) == ([], "not done within 40 s")


def test_counts_of_a_message_become_those_of_a_second() -> None:
    """Costs of a message are multiplied by the messages a second."""
    told = dict.fromkeys(
        ("offered", "deliveries", "sent", "p50", "p99", "cores", "busiest", "sender", "machine"),
        1.0,
    )
    told |= dict.fromkeys(("lost", "failed", "backlog", "connections"), 2.0)
    told |= {"operations": 300.0, "seconds": 1.5, "server_cpu": 0.001, "bytes": 50.0, "calls": 3.0}
    figures = figures_of(told)
    assert (figures["server_cpu"], figures["bytes"], figures["calls"]) == (0.2, 10_000.0, 600.0)
    assert (figures["client_cpu"], figures["lost"]) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("figures", "what"),
    [
        ({}, None),
        # Used up, but what is offered is carried: the next step will tell.
        ({"server_cpu": 0.97, "busiest_client": 0.99, "machine_cpu": 2.0}, None),
        ({"lost": 3.0}, "capacity"),
        ({"lost": 3.0, "busiest_client": 0.95}, "client CPU"),
        ({"deliveries": 900.0, "server_cpu": 0.93}, "server CPU"),
        ({"deliveries": 900.0, "machine_cpu": 1.85}, "machine CPU"),
        ({"p99": 1.2}, "latency"),
        ({"failed": 1.0, "lost": 3.0}, "failure"),
    ],
)
def test_what_gave_is_what_was_used_up(figures: dict[str, float], what: str | None) -> None:
    """Without a symptom there is no limit; with one it is the exhausted resource."""
    gave = what_gave({**QUIET, **figures}, cores=2)
    assert (gave and gave.what) == what


def test_what_gave_is_told_with_its_figures() -> None:
    """The sentence has what was seen, and all that was used up."""
    figures = {**QUIET, "deliveries": 800.0, "busiest_client": 0.97, "machine_cpu": 2.0}
    gave = what_gave(figures, cores=2)
    assert gave is not None
    assert gave.text == (
        "800 deliveries a second of 1,000 that were offered; a client process used 97 % of a core; "
        "2.0 of the machine's 2 cores were busy, 1.5 of them with other things"
    )


def test_several_servers_have_a_share_each() -> None:
    """1.6 cores of two servers are not 90 % of one."""
    figures = {**QUIET, "server_cpu": 1.6, "p99": 2.0}
    assert [what_gave(figures, 8, nodes) for nodes in (1, 2)] == [
        Gave("server CPU", "99 of 100 messages within 2.00 s; the server used 160 % of a core"),
        Gave("latency", "99 of 100 messages within 2.00 s; no CPU was used up"),
    ]
