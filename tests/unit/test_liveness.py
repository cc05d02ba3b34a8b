"""Processes count as dead only if they had the time to prove that they live."""

from __future__ import annotations

import pytest

from channels_redis_shared import liveness
from channels_redis_shared.liveness import SECOND_LOOK_AFTER, Silence


class Time:
    """The time, and the connections that were lost."""

    now = 0.0
    reconnects = 0


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """A time that the test sets."""
    set_time = Time()
    monkeypatch.setattr(liveness, "monotonic", lambda: set_time.now)
    return set_time


def test_two_looks(time: Time) -> None:
    """A process is dead at the second look, half a minute after the first."""
    silence: Silence[str] = Silence(lambda: time.reconnects)
    assert not silence.is_dead("a")
    time.now = SECOND_LOOK_AFTER - 1
    assert not silence.is_dead("a")
    time.now += 1
    assert silence.is_dead("a")


def test_outage_in_between(time: Time) -> None:
    """Looks before an outage don't count."""
    silence: Silence[str] = Silence(lambda: time.reconnects)
    silence.is_dead("a")
    time.now, time.reconnects = SECOND_LOOK_AFTER, 1
    assert not silence.is_dead("a")
    time.now *= 2
    assert silence.is_dead("a")


@pytest.mark.parametrize("sign", ["forget", "keep"])
def test_sign_of_life(time: Time, sign: str) -> None:
    """Nor do looks before a sign of life."""
    silence: Silence[str] = Silence(lambda: time.reconnects)
    silence.is_dead("a")
    silence.is_dead("b")
    silence.forget("a") if sign == "forget" else silence.keep(["b"])
    time.now = SECOND_LOOK_AFTER
    assert [silence.is_dead(one) for one in "ab"] == [False, True]
