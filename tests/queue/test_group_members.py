"""`group_count` and `group_channels`: who is in a group, in all processes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from channels_redis_queue.config import HEARTBEAT_TIMEOUT
from support.counting import count_commands
from support.messages import cancel, joined, within
from support.queue_layers import Layers, beside, waiting
from support.waiting import eventually


async def check(layers: list[Any], group: str, *channels: str) -> None:
    """Fail unless each layer says that these are the members."""
    for layer in layers:
        assert await within(layer.group_count(group)) == len(channels)
        assert sorted(await within(layer.group_channels(group))) == sorted(channels)


async def test_joins_and_leaves_show_at_once(options: dict[str, Any], layers: Layers) -> None:
    """Whichever process a member is of and whichever adds it: both know it, once, and its end."""
    one, two = pair = [layers(**options) for _ in range(2)]
    await check(pair, "room")
    first, second = await joined(one, "room"), await joined(one, "room")
    other = await joined(one, "room", prefix="other.prefix")
    far = await joined(two, "room")
    await joined(two, "another-room")
    stays = [second, other, "general"]
    for layer in pair:  # once more changes nothing
        await within(layer.group_add("room", first))
        await within(layer.group_add("room", "general"))
    await check(pair, "room", *stays, first, far)
    await within(one.group_discard("room", first))
    await within(one.group_discard("room", far))
    await check(pair, "room", *stays)
    foreign = await within(one.new_channel())
    for layer in (two, one):
        await within(layer.group_add("room", foreign))
        await check(pair, "room", *stays, foreign)
    await within(one.group_add("room", first))
    await check(pair, "room", *stays, foreign, first)


async def test_members_count_while_their_process_lives(
    layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do so when they have joined just now, and then while its heartbeat is recent."""
    layer, other = layers(), layers()
    channel = await joined(other, "room")
    await check([layer], "room", channel)
    # From here on the heartbeat counts, which comes with the first `receive`.
    monkeypatch.setattr("channels_redis_queue.groups.HEARTBEAT_TIMEOUT", 0)
    await check([layer], "room")
    receiver = await waiting(other, channel)
    heartbeat = beside(layer, channel).heartbeat
    with layers.server.client() as client:
        await eventually(lambda: client.exists(heartbeat))
        await check([layer], "room", channel)
        # As if so long had passed.
        client.expire(heartbeat, client.ttl(heartbeat) - HEARTBEAT_TIMEOUT - 1)
    await check([layer], "room")
    await cancel(receiver)


async def test_count_costs_no_more_for_more_members(own_layers: Layers) -> None:
    """A count takes as many commands, and small replies, for 1,000 members as for one."""
    layer = own_layers()
    for _ in range(20):  # until this loop has its own connections
        await within(layer.group_count("room"))
    counted = []
    for members in (1, 1000):
        channels = [await layer.new_channel() for _ in range(members)]
        group = f"room-{members}"
        await within(asyncio.gather(*(layer.group_add(group, name) for name in channels)))
        with count_commands(own_layers.server) as seen:
            assert await within(layer.group_count(group)) == members
        counted.append(seen)
    assert counted[0].commands == counted[1].commands
    assert counted[1].bytes_out < counted[0].bytes_out + 50


async def test_wrong_names(layers: Layers) -> None:
    """A name that no group can have is a TypeError, as in other methods."""
    layer = layers()
    for method in (layer.group_count, layer.group_channels):
        with pytest.raises(TypeError):
            await method("no such name")
