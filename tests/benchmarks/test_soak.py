from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.soak import host, ledger, soaking
from benchmarks.soak.__main__ import run
from benchmarks.soak.figures import is_supported
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.plan import Plan, plan
from benchmarks.soak.report import document, progress, table
from benchmarks.soak.soaking import Soak
from benchmarks.soak.verdicts import EXACT, LOOSE, MIB, compare, reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.soak.verdicts import Reading
    from embedded_server import EmbeddedServer

QUANTITIES = {*EXACT, *LOOSE}


def some_reading(**changed: int) -> Reading:
    """Return a reading in which all is 10 but for what is named."""
    return {**dict.fromkeys(QUANTITIES, 10), **changed}


@pytest.mark.parametrize("minutes", [0.1, 4, 10, 60])
def test_a_plan_takes_the_time_that_it_is_given(minutes: float) -> None:
    """Its cycles fill the minutes, and what is compared are two of them, after a warm-up."""
    made = plan(minutes)
    assert made.seconds == pytest.approx(minutes * 60)
    assert 0 <= made.first < made.cycles - 1
    assert made.tells_of_leaks == (minutes >= 4)


def test_ten_minutes_have_five_cycles_and_the_first_warms_up() -> None:
    """The calm is longer than the minute for which some things are kept."""
    made = plan(10)
    assert (made.cycles, made.first) == (5, 0)
    assert made.calm > 60


def test_what_may_not_change_has_grown_by_one() -> None:
    """One task more is a leak, one less is none."""
    verdicts = compare(some_reading(tasks=10, threads=10), some_reading(tasks=11, threads=9))
    assert {verdict.quantity for verdict in verdicts if not verdict.flat} == {"tasks"}


@pytest.mark.parametrize(
    ("first", "last", "flat"),
    [
        (40 * MIB, 42 * MIB, True),
        (40 * MIB, 42 * MIB + 1, False),
        (80 * MIB, 84 * MIB, True),
        (80 * MIB, 84 * MIB + 1, False),
    ],
)
def test_memory_may_grow_by_a_share_or_an_amount(first: int, last: int, *, flat: bool) -> None:
    """Whichever is more."""
    verdicts = compare(some_reading(rss=first), some_reading(rss=last))
    assert [verdict.flat for verdict in verdicts if verdict.quantity == "rss"] == [flat]


def test_one_odd_sample_does_not_count() -> None:
    """Of several samples the median is the reading."""
    assert reading([some_reading(), some_reading(tasks=99), some_reading()])["tasks"] == 10


def test_the_ledger_tells_what_came_twice_and_what_was_lost() -> None:
    """By message and reader; what may be lost in a fault is counted apart."""
    book = Ledger({"all": 2, "one": 1})
    book.note(
        sent=[("a", 10.0, "all"), ("b", 20.0, "one"), ("c", 49.0, "one"), ("d", 10.0, "none")],
        received=[("a", "x"), ("a", "x"), ("unheard of", "x")],
    )
    book.trouble(ledger.KILLS, 22.0, 30.0)
    book.trouble(ledger.FAULTS, 50.0, 60.0)
    assert book.twice() == [("a", "x")]
    assert {loss.message: loss.when for loss in book.lost()} == {
        "a": ledger.CALM,
        "b": ledger.KILLS,
        "c": ledger.FAULTS,
    }
    assert book.figures() == {
        "sent": 4,
        "received": 3,
        "twice": 1,
        "lost_in_calm": 1,
        "lost_in_kills": 1,
        "lost_in_faults": 1,
    }


@pytest.mark.skipif(not is_supported(), reason="the figures of a process are read from /proc")
async def test_a_short_soak(
    start_server: Callable[[], EmbeddedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It breaks what it says, counts what it says, and no message comes twice.

    It is too short to tell of leaks.
    """
    monkeypatch.setattr(soaking, "BETWEEN", 0.05)
    monkeypatch.setattr(host, "FROZEN", 0.2)
    brief = Plan(cycles=1, load=0.5, kills=0.3, faults=0.3, calm=1.0)
    soaks = [Soak(layer, brief) for layer in ("queue", "pubsub")]
    servers = [start_server() for _ in soaks]
    await asyncio.wait_for(run(soaks, servers), 50)
    told = json.loads(json.dumps(document(soaks, 0.0, servers[0])))
    for layer in ("queue", "pubsub"):
        found = told["layers"][layer]
        assert {verdict["quantity"] for verdict in found["verdicts"]} == QUANTITIES
        assert {"t", "phase", "worker", "rss", "connections"} <= found["samples"][0].keys()
        assert found["messages"]["sent"] > 0
        assert found["messages"]["received"] > 0
        assert found["messages"]["twice"] == 0
        assert found["faults"]["workers killed"] == 1
        assert found["faults"]["freezes"] == 1
        assert found["faults"]["connections killed"] > 0
        assert f"{layer}: calm 1" in progress(soaks)
        assert f"{layer}: calm 1" in table(soaks)
