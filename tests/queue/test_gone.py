"""Cleanup after consumers and processes that have ended."""

from __future__ import annotations

import time

import pytest

from support.messages import within
from support.queue_layers import Layers, StartRemoteLayer, nothing_else, waiting
from support.waiting import eventually, until

pytestmark = pytest.mark.usefixtures("frequent_checks")


async def test_running_consumer_outlives_group_expiry(layers: Layers) -> None:
    """Its process renews its membership; one without a consumer ends."""
    layer, other = layers(group_expiry=2), layers(group_expiry=2)
    consumed, abandoned = await layer.new_channel(), await layer.new_channel()
    for channel in (consumed, abandoned):
        await layer.group_add("room", channel)
    receiver = await waiting(layer, consumed)
    await until(time.monotonic() + 3)
    await other.group_send("room", {"type": "hello"})
    assert await within(receiver) == {"type": "hello"}
    await nothing_else(layer, abandoned)

    async def only_one() -> bool:
        return await other.group_channels("room") == [consumed]

    await eventually(only_one)


async def test_dead_process(own_layers: Layers, remote_layer: StartRemoteLayer) -> None:
    """A process that died leaves nothing that lives longer than `group_expiry`."""
    layer = own_layers(group_expiry=700)
    other = await remote_layer(**own_layers.options, group_expiry=700)
    channel, stays = await other.new_channel(), await other.new_channel()
    for member in (channel, stays):
        await other.group_add("room", member)
    await other.send(channel, {"type": "hello"})
    assert await other.receive(channel) == {"type": "hello"}
    await other.send("jobs", {"type": "hello"})
    await other.listen("mails", 2)
    await other.group_discard("hall", channel)
    await other.worker.kill()
    await layer.group_send("room", {"type": "unread"})
    await layer.group_discard("room", channel)
    with own_layers.server.client() as client:
        lives = {key: client.ttl(key) for key in client.keys("*")}
    assert len(lives) >= 5
    assert all(0 < life <= 700 for life in lives.values()), lives
