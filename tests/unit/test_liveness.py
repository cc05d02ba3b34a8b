"""Processes count as dead only if they had the time to prove that they live."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from channels_redis_queue import RedisChannelLayer
from channels_redis_queue.liveness import GONE
from channels_redis_shared import liveness
from channels_redis_shared.liveness import SECOND_LOOK_AFTER, Silence
from support.queue_layers import beside

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer


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


async def test_mark_is_all_that_is_remembered(
    redis_server: EmbeddedServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the server knows that a process is dead, this one keeps nothing of it."""
    monkeypatch.setattr("channels_redis_queue.liveness.SECOND_LOOK_AFTER", 0)
    layer = RedisChannelLayer(hosts=[redis_server.url], prefix=prefix)
    process, address = layer._brokers.get(), "specific.0c!"
    heartbeat = beside(layer, address).heartbeat
    with redis_server.client() as client:
        client.set(heartbeat, "1000.1", ex=10)
        assert await process._liveness.is_dead(address, process.shards)
        assert client.get(heartbeat) == GONE
    assert not process._liveness._silence._first
    await layer.close_pools()
