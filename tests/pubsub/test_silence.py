"""A connection that goes silent without closing is found, replaced, and reported."""

from __future__ import annotations

import asyncio

import pytest

from channels_redis_pubsub import subscriber
from support.counting import count_commands
from support.messages import joined, take, within
from support.pubsub_layers import (
    NOTICES,
    Layers,
    waiting,
)

FOUND_WITHIN = 30.0  # seconds


def test_silence_is_found_in_time() -> None:
    """A network that swallows everything is found within 30 s, a stall of 10 s is waited for."""
    assert subscriber.SILENCE_GRACE > 10
    assert subscriber.PROBE_INTERVAL + subscriber.SILENCE_GRACE < FOUND_WITHIN


async def test_server_that_stalls_loses_nothing(
    own_layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages published while it stalls, for less than the grace, arrive; without a notice."""
    monkeypatch.setattr("channels_redis_pubsub.subscriber.PROBE_INTERVAL", 0.5)
    layer, sender = own_layers(**NOTICES), own_layers()
    channel = await joined(layer, "room")
    await within(sender.group_send("room", {"type": "hello"}))
    assert await take(layer, channel) == {"type": "hello"}
    receiver = await waiting(layer, channel)
    own_layers.server.pause()
    try:
        done, _ = await asyncio.wait([receiver], timeout=2)
        assert not done
        sending = asyncio.create_task(sender.group_send("room", {"type": "late"}))
        done, _ = await asyncio.wait([receiver], timeout=1)
        assert not done
    finally:
        own_layers.server.resume()
    await within(sending)
    assert await within(receiver) == {"type": "late"}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("protocol", [2, 3])
async def test_idle_process_sends_only_probes(own_layers: Layers, protocol: int) -> None:
    """An idle connection stays through many probes."""
    layer = own_layers(hosts=[{"address": own_layers.server.url, "protocol": protocol}], **NOTICES)
    channel = await layer.new_channel()
    receiver = await waiting(layer, channel)
    with count_commands(own_layers.server) as counted:
        done, _ = await asyncio.wait([receiver], timeout=3)
    assert not done
    assert counted.connections == 0
    assert set(counted.commands) == {"ping"}
    assert counted.commands["ping"] >= 2
    sender = own_layers()
    await within(sender.send(channel, {"type": "hello"}))
    await within(sender.close_pools())
    assert await within(receiver) == {"type": "hello"}
