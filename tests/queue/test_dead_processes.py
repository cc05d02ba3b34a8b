"""Consumers and processes that have ended leave their groups, or are taken out by others."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from channels_redis_queue import keys
from support import inside
from support.messages import cancel, joined, take, within
from support.queue_layers import (
    Layers,
    StartRemoteLayer,
    beside,
    names_in,
    nothing_else,
    waiting,
)
from support.waiting import eventually, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from channels_redis_queue import RedisChannelLayer
    from embedded_server import EmbeddedServer

MESSAGE = {"type": "hello"}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let senders check processes with each message, and call one dead after a second."""
    monkeypatch.setattr("channels_redis_queue.protocol.group_cache.LIVENESS_CHECK_INTERVAL", 0)
    monkeypatch.setattr("channels_redis_queue.publisher.LIVENESS_CHECK_INTERVAL", 0)
    monkeypatch.setattr("channels_redis_queue.liveness.HEARTBEAT_TIMEOUT", 1)
    monkeypatch.setattr("channels_redis_queue.liveness.RETRY_INTERVAL", 0.2)
    monkeypatch.setattr("channels_redis_queue.liveness.SECOND_LOOK_AFTER", 0.5)


async def sends_heartbeats(layer: RedisChannelLayer, channel: str) -> None:
    """Wait until the process of a channel has sent a heartbeat."""
    key = beside(layer, channel).heartbeat
    commands = inside.shards(layer).of(keys.non_local(channel))
    await eventually(lambda: commands.execute(("EXISTS", key), key=key))


@pytest.mark.usefixtures("quick")
async def test_killed_process_is_taken_out(
    options: dict[str, Any], layers: Layers, remote_layer: StartRemoteLayer
) -> None:
    """Senders take a minute or two; living processes stay, and so do all other names."""
    sender, silent = layers(**options, expiry=1), layers(**options)
    lives, dies = [await remote_layer(**options) for _ in range(2)]
    channels = [await each.new_channel() for each in (lives, dies)]
    for remote, channel in zip((lives, dies), channels, strict=True):
        await remote.group_add("room", channel)
        await remote.listen(channel)
        await sends_heartbeats(sender, channel)
    # Synchronous code, channels_redis 4, and workers send no heartbeats.
    others = [await silent.new_channel(), f"specific.{'0' * 12}4{'0' * 19}!old", "jobs"]
    for other in others:
        await silent.group_add("room", other)
    before = await names_in(sender, "room")
    assert len(before) == 5
    await dies.worker.kill()
    dead = [name for name in before if keys.process_of(name) == keys.process_of(channels[1])]

    key, address = beside(sender, channels[0]).heartbeat, keys.non_local(channels[0])

    async def gone() -> bool:
        # As if the one that lives had sent its next heartbeat, which takes 20 s.
        command = ("SET", key, "1000.0", "EX", 1000)
        await inside.shards(sender).of(address).execute(command, key=key)
        await sender.group_send("room", {"number": 1})
        return not set(dead) & set(await names_in(sender, "room"))

    await eventually(gone)
    assert sorted(await names_in(sender, "room")) == sorted(set(before) - set(dead))
    await sender.group_send("room", {"number": 2})
    assert await take(silent, others[0]) == {"number": 1}
    assert await lives.count(channels[0]) > 0


async def test_host_that_is_away_delays_no_heartbeat(
    own_server: EmbeddedServer,
    start_server: Callable[..., EmbeddedServer],
    layers: Layers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Heartbeats go on at the other hosts, however many addresses have theirs on that one."""
    monkeypatch.setattr("channels_redis_queue.liveness.HEARTBEAT_INTERVAL", 0)
    monkeypatch.setattr("channels_redis_queue.liveness.RETRY_INTERVAL", 0.2)
    away = start_server()
    layer = layers(hosts=[own_server.url, away.url])
    channels = [await layer.new_channel(f"kind{number}") for number in range(20)]
    receivers = [await waiting(layer, channel) for channel in channels]
    await asyncio.gather(*(layer.group_add("room", channel) for channel in channels))
    with own_server.client() as client:

        def heartbeats() -> dict[bytes, bytes]:
            return {key: client.get(key) for key in client.keys("*$alive*")}

        await eventually(lambda: len(heartbeats()) > 5)
        away.pause()
        try:
            for _ in range(2):
                before = heartbeats()
                await eventually(lambda: not before.items() & heartbeats().items())  # noqa: B023
        finally:
            away.resume()
    await cancel(*receivers)


async def test_consumers_leave_as_their_loop_ends(options: dict[str, Any], layers: Layers) -> None:
    """Consumers that `asyncio.run` ends leave their groups, and all others stay."""
    layer, ends = layers(**options), layers(**options)
    stays = await joined(layer, "room")
    before = await names_in(layer, "room")
    got = 0

    async def consume() -> None:
        nonlocal got
        channel = await ends.new_channel()
        for room in ("room", "hall"):
            await ends.group_add(room, channel)
        while True:
            await ends.receive(channel)
            got += 1

    async def program() -> None:
        # Kept: the loop has only weak references.
        consumers = [asyncio.create_task(consume()) for _ in range(20)]
        while got < len(consumers):
            await asyncio.sleep(0.05)

    program_ended = asyncio.create_task(asyncio.to_thread(asyncio.run, program()))

    async def all_joined() -> bool:
        return await layer.group_count("hall") == 20

    await eventually(all_joined)
    await layer.group_send("hall", MESSAGE)
    await within(program_ended)
    assert await names_in(layer, "room") == before
    assert await names_in(layer, "hall") == []
    assert await layer.group_channels("room") == [stays]
    await layer.group_send("room", MESSAGE)
    assert await take(layer, stays) == MESSAGE


@pytest.mark.usefixtures("quick")
async def test_process_that_is_silent_for_one_look(
    own_layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays in its groups, also when that happens again: its machine may have paused."""
    monkeypatch.setattr("channels_redis_queue.liveness.HEARTBEAT_INTERVAL", 3600)
    layer, sender = own_layers(), own_layers(expiry=1)
    channel = await layer.new_channel()
    receiver = await waiting(layer, channel)
    await layer.group_add("room", channel)
    await sends_heartbeats(sender, channel)
    heartbeat = beside(layer, channel).heartbeat

    with own_layers.server.client() as client:
        lives = client.ttl(heartbeat)
        for _ in range(2):
            # As if so long had passed since the heartbeat; and as if it were newer.
            for seconds in (lives - 10, lives + 10):
                client.expire(heartbeat, seconds)
                await sender.group_send("room", MESSAGE)
            await until(time.monotonic() + 0.5)
    assert len(await names_in(sender, "room")) == 1
    assert await within(receiver) == MESSAGE


@pytest.mark.usefixtures("frequent_checks")
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


@pytest.mark.usefixtures("frequent_checks")
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
