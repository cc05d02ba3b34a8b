"""Memberships on a server that has lost them: it came back empty, or as it was some time ago."""

from __future__ import annotations

from functools import partial

import pytest

from channels_redis_queue import keys
from channels_redis_queue.liveness import GONE
from support import inside
from support.layers import reaches
from support.messages import cancel
from support.past import Past
from support.queue_layers import Layers, beside, waiting
from support.waiting import eventually

MESSAGE = {"type": "hello"}

pytestmark = pytest.mark.usefixtures("frequent_checks")


@pytest.mark.parametrize("how", ["restart", "connections stay"])
async def test_server_comes_back_as_it_was(own_layers: Layers, how: str) -> None:
    """A snapshot, or a replica that lagged, lacks the latest members."""
    layer, sender = own_layers(), own_layers()
    old, new = await layer.new_channel(), await layer.new_channel()
    receivers = [await waiting(layer, channel) for channel in (old, new)]
    await layer.group_add("old", old)
    with own_layers.server.client() as client:
        client.save()
    past = Past(own_layers.server)
    await layer.group_add("new", new)
    if how == "restart":
        own_layers.server.kill()
        own_layers.server.start()
    else:
        past.come_back()
    with own_layers.server.client() as client:
        assert client.exists(f"{layer.prefix}:group:old")
    for receiver, group in ((receivers[1], "new"), (receivers[0], "old")):
        assert await reaches(receiver, partial(sender.group_send, group, MESSAGE)) == MESSAGE


async def test_who_had_left_does_not_count_again(own_layers: Layers) -> None:
    """A member whose end the server has lost is taken out once more."""
    layer = own_layers()
    stays, leaves = await layer.new_channel(), await layer.new_channel()
    receivers = [await waiting(layer, channel) for channel in (stays, leaves)]
    for channel in (stays, leaves):
        await layer.group_add("room", channel)
    past = Past(own_layers.server)
    await layer.group_add("another", stays)
    await layer.group_discard("room", leaves)
    virtual = keys.virtual_channel(keys.non_local(stays), "room")
    local_groups = inside.broker(layer).local_groups
    await eventually(lambda: local_groups.members(virtual) == [stays])
    past.come_back()

    async def one() -> bool:
        return await layer.group_channels("room") == [stays]

    await eventually(one)
    await cancel(*receivers)


async def test_process_that_was_taken_for_dead(
    own_layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds the mark in place of its heartbeat, and writes its members again."""
    monkeypatch.setattr("channels_redis_queue.liveness.HEARTBEAT_INTERVAL", 0)
    layer = own_layers()
    channel = await layer.new_channel()
    receiver = await waiting(layer, channel)
    await layer.group_add("room", channel)
    # That of the group alone does not show that the server has lost something.
    await layer.group_add("another", channel)
    with own_layers.server.client() as client:
        client.delete(f"{layer.prefix}:group:room")
        client.set(beside(layer, channel).heartbeat, GONE)
    assert await reaches(receiver, partial(layer.group_send, "room", MESSAGE)) == MESSAGE
