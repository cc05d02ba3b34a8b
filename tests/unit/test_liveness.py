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


@pytest.mark.parametrize(
    ("sign", "dead"), [("none", "ab"), ("outage", ""), ("forget", "b"), ("keep", "b")]
)
def test_second_look(time: Time, sign: str, dead: str) -> None:
    """A process is dead half a minute after the first look since an outage or a sign of life."""
    silence: Silence[str] = Silence(lambda: time.reconnects)
    signs = {"forget": lambda: silence.forget("a"), "keep": lambda: silence.keep(["b"])}

    def look() -> str:
        return "".join(filter(silence.is_dead, "ab"))

    assert look() == ""
    time.reconnects += sign == "outage"
    signs.get(sign, int)()
    time.now = SECOND_LOOK_AFTER - 1
    assert look() == ""
    time.now += 1
    assert look() == dead
    time.now += SECOND_LOOK_AFTER
    assert look() == "ab"


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
