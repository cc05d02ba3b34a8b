"""Cleanup after consumers and processes that have ended."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from typing import TYPE_CHECKING

import pytest

from channels_redis_queue import keys
from channels_redis_queue.layer import PROCESS_CAPACITY
from support import inside
from support.counting import count_commands
from support.messages import cancel, consume, take, within
from support.queue_layers import Layers, StartRemoteLayer, beside, names_in, nothing_else, waiting
from support.waiting import eventually, until

if TYPE_CHECKING:
    from channels_redis_queue import RedisChannelLayer
    from embedded_server import EmbeddedServer

WAVE = 1000

pytestmark = pytest.mark.usefixtures("frequent_checks")


async def come_and_go(layer: RedisChannelLayer, count: int) -> None:
    """Let consumers join a group, receive a message, and be cancelled while they wait for more."""
    channels = [await layer.new_channel() for _ in range(count)]
    await within(asyncio.gather(*(layer.group_add("room", channel) for channel in channels)))
    await layer.group_send("room", {"type": "hello"})
    await within(asyncio.gather(*(layer.receive(channel) for channel in channels)))
    consumers = [asyncio.create_task(layer.receive(channel)) for channel in channels]
    await nothing_else(layer, await layer.new_channel())
    await cancel(*consumers)
    assert all(consumer.cancelled() for consumer in consumers)
    await layer.group_send("room", {"type": "hello again"})


@pytest.mark.slow
async def test_cancelled_consumers(layers: Layers) -> None:
    """3,000 consumers that joined a group and were cancelled: neither memory nor group grows."""
    layer = layers(channel_expiry=1)
    process = inside.broker(layer)

    async def forgotten() -> bool:
        empty = not process.local_groups.virtuals() and not len(process.mailboxes)
        return empty and not await names_in(layer, "room")

    objects = []
    for _ in range(3):
        await asyncio.create_task(come_and_go(layer, WAVE))
        await eventually(forgotten)
        gc.collect()
        objects.append(len(gc.get_objects()))
    # What else happens in this process may grow once; what consumers leave grows with each wave.
    assert min(after - before for before, after in itertools.pairwise(objects)) < WAVE / 2
    assert not inside.memory_of_consumers(process)


async def test_consumer_that_comes_back_is_a_member(layers: Layers) -> None:
    """A receive that is cancelled and called again in time, as with a timeout, ends nothing."""
    layer = layers(channel_expiry=2)
    channel = await asyncio.create_task(consume(layer, 0))
    end = time.monotonic() + 3
    while time.monotonic() < end:
        receiving = asyncio.create_task(layer.receive(channel))
        await asyncio.wait([receiving], timeout=0.5)
        await cancel(receiving)
    await layer.group_send("room", {"type": "hello"})
    assert await take(layer, channel) == {"type": "hello"}


async def test_consumers_that_end_between_two_receives(
    layers: Layers,
) -> None:
    """Consumers whose handlers failed, or whose browsers left as a message arrived, leave too."""
    layer = layers(channel_expiry=1)
    process = inside.broker(layer)
    # Made by tasks that ended before a `receive`: those were no consumers.
    stays, unheard = [await asyncio.create_task(consume(layer, 0)) for _ in range(2)]
    consumers = [asyncio.create_task(consume(layer, 1)) for _ in range(20)]
    await eventually(lambda: len(process.mailboxes) == 20)
    receiving = asyncio.create_task(layer.receive(stays))
    await layer.group_send("room", {"type": "hello"})
    ended = await within(asyncio.gather(*consumers))
    assert await within(receiving) == {"type": "hello"}
    staying = asyncio.create_task(layer.receive(stays))
    # Another task receives from one of them now.
    receiving = asyncio.create_task(layer.receive(ended[0]))
    virtual = keys.virtual_channel(keys.non_local(stays), "room")
    await eventually(
        lambda: sorted(process.local_groups.members(virtual)) == sorted([ended[0], stays, unheard])
    )
    await layer.group_send("room", {"type": "hello again"})
    assert await within(receiving) == {"type": "hello again"}
    assert await within(staying) == {"type": "hello again"}


async def test_consumer_that_is_cancelled_leaves_at_once(layers: Layers) -> None:
    """Its task ended while it received, and without `group_discard`, as when a browser goes."""
    layer = layers()

    async def live() -> None:
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        while True:
            await layer.receive(channel)

    consumers = [asyncio.create_task(live()) for _ in range(3)]
    await eventually(lambda: len(inside.broker(layer).mailboxes) == 3)
    await cancel(*consumers)
    local_groups = inside.broker(layer).local_groups
    assert not any(local_groups.members(virtual) for virtual in local_groups.virtuals())

    async def forgotten() -> bool:
        # Finds out that none is there, should the group just have been written again.
        await layer.group_send("room", {"type": "hello"})
        return not await names_in(layer, "room")

    await eventually(forgotten)


async def test_member_stays_while_another_task_handles_its_message(layers: Layers) -> None:
    """The task that made the channel has ended, and the handler takes longer than any limit."""
    layer = layers(channel_expiry=1)
    process = inside.broker(layer)
    done, handling = asyncio.Event(), asyncio.Event()
    received: list[str] = []

    async def handle(channel: str) -> None:
        while True:
            received.append((await layer.receive(channel))["type"])
            handling.set()
            await done.wait()

    async def make() -> asyncio.Task[None]:
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        task = asyncio.create_task(handle(channel))
        # Ends as the message is being handled.
        await layer.group_send("room", {"type": "long"})
        await handling.wait()
        return task

    task = await within(asyncio.create_task(make()))
    # One that has lost its reader goes meanwhile.
    left = await within(asyncio.create_task(layer.new_channel()))
    await within(layer.send(left, {"type": "goodbye"}))
    assert await within(asyncio.create_task(layer.receive(left))) == {"type": "goodbye"}
    await eventually(lambda: process.mailboxes.find(left) is None)
    done.set()
    await layer.group_send("room", {"type": "later"})
    await eventually(lambda: received == ["long", "later"])
    await cancel(task)


async def test_group_expiry_counts_from_the_latest_join(layers: Layers) -> None:
    """Members of this process and of another leave when their own time is over."""
    layer, other = layers(group_expiry=3), layers(group_expiry=3)
    channels = {
        name: (where, await where.new_channel())
        for name, where in [("old", layer), ("new", layer), ("other old", other), ("jobs", layer)]
    }
    channels["jobs"] = (layer, "jobs")
    started = time.monotonic()
    for where, channel in channels.values():
        await where.group_add("room", channel)
    await until(started + 2)
    await layer.group_add("room", channels["new"][1])
    await until(started + 3.2)
    await layer.group_send("room", {"type": "hello"})
    assert time.monotonic() < started + 5, "This machine is too busy for such a test"
    assert await take(layer, channels["new"][1]) == {"type": "hello"}
    for name in ("old", "other old", "jobs"):
        await nothing_else(*channels[name])


async def test_running_consumer_outlives_group_expiry(layers: Layers) -> None:
    """Its process renews its membership; one without a consumer ends."""
    layer, other = layers(group_expiry=3), layers(group_expiry=3)
    consumed, abandoned = await layer.new_channel(), await layer.new_channel()
    for channel in (consumed, abandoned):
        await layer.group_add("room", channel)
    receiver = await waiting(layer, consumed)
    await until(time.monotonic() + 7)
    await other.group_send("room", {"type": "hello"})
    assert await within(receiver) == {"type": "hello"}
    await nothing_else(layer, abandoned)

    async def only_one() -> bool:
        return await other.group_channels("room") == [consumed]

    await eventually(only_one)


async def test_dead_process(
    own_server: EmbeddedServer, own_layers: Layers, remote_layer: StartRemoteLayer
) -> None:
    """A process that died leaves nothing that lives longer than `group_expiry`."""
    layer = own_layers(group_expiry=700)
    other = await remote_layer(**own_layers.options, group_expiry=700)
    channel = await other.new_channel()
    await other.group_add("room", channel)
    await other.send(channel, {"type": "hello"})
    assert await other.receive(channel) == {"type": "hello"}
    await other.send("jobs", {"type": "hello"})
    await other.call("drain", "mails", 2)
    await other.group_discard("hall", channel)
    await other.worker.kill()
    await layer.group_send("room", {"type": "unread"})
    await layer.group_discard("room", channel)
    with own_server.client() as client:
        lives = {key: client.ttl(key) for key in client.keys("*")}
    assert len(lives) >= 4
    assert all(0 < life <= 700 for life in lives.values()), lives


async def test_group_forgets_a_dead_process(layers: Layers, remote_layer: StartRemoteLayer) -> None:
    """Its name in a group that others keep alive expires."""
    layer = layers(group_expiry=2)
    other = await remote_layer(**layers.options, group_expiry=2)
    await other.group_add("room", await other.new_channel())
    await other.worker.kill()

    async def alone() -> bool:
        await layer.group_add("room", "jobs")
        return len(await names_in(layer, "room")) == 1

    assert not await alone()
    await eventually(alone)


async def test_full_message_key_of_a_dead_process(
    own_server: EmbeddedServer, own_layers: Layers, remote_layer: StartRemoteLayer
) -> None:
    """It costs a sender the same few calls, however many members the process had."""
    layer = own_layers(capacity=2)
    other = await remote_layer(**own_layers.options, capacity=2)
    channels = [await other.new_channel() for _ in range(300)]
    for room, members in (("small", channels[:1]), ("large", channels)):
        for channel in members:
            await other.group_add(room, channel)
    await other.worker.kill()
    for _ in range(20):
        await layer.send(channels[0], {"type": "unread"})
    calls = {}
    for room in ("small", "large"):
        for _ in range(20):
            await layer.group_send(room, {"type": "unread"})
        with count_commands(own_server) as counted:
            await layer.group_send(room, {"type": "unread"})
        calls[room] = counted.total
        assert counted.bytes_in < 1000
    assert calls["small"] == calls["large"] < 12
    with own_server.client() as client:
        assert client.zcard(beside(layer, channels[0]).key) == 2 * PROCESS_CAPACITY
