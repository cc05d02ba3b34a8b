"""Sentinel: failovers, Sentinels that are dead, passwords, settings that do not fit."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from asgiref.sync import async_to_sync
from redis.exceptions import ReadOnlyError

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from embedded_server import HOST, EmbeddedServer
from support.histories import HISTORY, follow, plain, send
from support.layers import LAYERS, succeeds, works
from support.messages import numbered, take, take_many, within
from support.sentinels import SentinelGroup, host_by, role, sentinel_of
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from support.layers import Layer, LayerClass, Layers
    from support.messages import Message
    from support.proxy import TcpProxy

# Seconds from the moment in which a new master is up until messages flow again, on a busy machine.
SOON = 10.0
NOTICES = {"on_disconnect": "redis.lost", "on_reconnect": "redis.found"}


@pytest_asyncio.fixture
async def group() -> AsyncIterator[SentinelGroup]:
    """Yield a master, a replica and three Sentinels, all with passwords."""
    with SentinelGroup(password="servers-only", sentinel_password="sentinels-only") as group:
        await group.ready()
        yield group


@pytest_asyncio.fixture
async def open_group() -> AsyncIterator[SentinelGroup]:
    """Yield such a group without passwords."""
    with SentinelGroup() as group:
        await group.ready()
        yield group


class Consumer:
    """Receives from one channel, and keeps what came."""

    def __init__(self, layer: Layer, channel: str) -> None:
        self.received: list[Message] = []
        self._task = asyncio.create_task(self._receive(layer, channel))

    async def _receive(self, layer: Layer, channel: str) -> None:
        while True:
            self.received.append(await layer.receive(channel))

    async def got(self, message: Message) -> None:
        """Return when a message has come; raise what `receive` raised."""

        def there() -> bool:
            if self._task.done():
                self._task.result()
            return message in self.received

        await eventually(there, timeout=30)

    async def stop(self) -> None:
        """Stop receiving."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def send_until_done(layer: Layer, message: Message, *, synchronously: bool = False) -> float:
    """Send to the group until that raises no error; return the seconds that it took."""
    began = time.monotonic()
    send: Callable[[], Awaitable[None]] = partial(layer.group_send, "room", message)
    if synchronously:
        send = partial(asyncio.to_thread, async_to_sync(layer.group_send), "room", message)
    await eventually(partial(succeeds, send), timeout=30)
    return time.monotonic() - began


async def consumer_in_group(layer: Layer) -> Consumer:
    """Return a consumer with a channel in a group, which has got a message through it."""
    channel = await within(layer.new_channel())
    await within(layer.group_add("room", channel))
    consumer = Consumer(layer, channel)
    await within(layer.group_send("room", {"type": "before"}))
    await consumer.got({"type": "before"})
    return consumer


@pytest.mark.timeout(120)
async def test_killed_master(
    group: SentinelGroup, layers: Layers, caplog: pytest.LogCaptureFixture
) -> None:
    """The replica takes over: consumers see no error, and receive the next messages at once.

    One of three Sentinels is dead, the first in the list. The Pub/Sub layer notifies its channels.
    """
    caplog.set_level(logging.INFO)
    group.sentinels[0].kill()
    queue = layers(RedisChannelLayer, group.host)
    pubsub = layers(RedisPubSubChannelLayer, group.host, **NOTICES)
    consumers = {layer: await consumer_in_group(layer) for layer in (queue, pubsub)}
    for layer, consumer in consumers.items():
        await send_until_done(layer, {"type": "synchronous"}, synchronously=True)
        await consumer.got({"type": "synchronous"})
    group.master.kill()
    await group.promoted()
    seconds = await asyncio.gather(
        send_until_done(queue, {"type": "after"}), consumers[pubsub].got({"type": "redis.found"})
    )
    assert seconds[0] < SOON
    await within(pubsub.group_send("room", {"type": "after"}))
    for consumer in consumers.values():
        await consumer.got({"type": "after"})
    assert [message["type"] for message in consumers[pubsub].received] == [
        "before",
        "synchronous",
        "redis.lost",
        "redis.found",
        "after",
    ]
    for package in ("channels_redis_queue", "channels_redis_pubsub"):
        records = [record for record in caplog.records if record.name.startswith(package)]
        assert [record.levelname for record in records] == ["WARNING", "INFO"], records
    for layer, consumer in consumers.items():
        await send_until_done(layer, {"type": "synchronous, after"}, synchronously=True)
        await consumer.got({"type": "synchronous, after"})
        await consumer.stop()


@pytest.mark.timeout(120)
async def test_synchronous_callers_leave_an_old_master(
    open_group: SentinelGroup, layers: Layers
) -> None:
    """They reconnect to the new one, although the old one would take what they send."""
    pubsub = layers(RedisPubSubChannelLayer, open_group.host, **NOTICES)
    consumer = await consumer_in_group(pubsub)
    send = async_to_sync(pubsub.group_send)
    await asyncio.to_thread(send, "room", {"type": "first"})
    await consumer.got({"type": "first"})
    master = open_group.master
    master.kill()
    await open_group.promoted()
    await consumer.got({"type": "redis.found"})
    # It takes itself for the master, as long as no Sentinel can demote it.
    for sentinel in open_group.sentinels:
        sentinel.pause()
    master.start()
    assert role(master) == "master"
    for sentinel in open_group.sentinels:
        sentinel.resume()
    await asyncio.to_thread(send, "room", {"type": "after"})
    await consumer.got({"type": "after"})
    await consumer.stop()


async def test_a_sentinel_that_names_a_replica(
    layer_class: LayerClass, layers: Layers, start_server: Callable[..., EmbeddedServer]
) -> None:
    """Nothing is sent until it is the master; what is published on a replica would be lost."""
    master = start_server()
    replica = start_server(f"replicaof {HOST} {master.port}", "repl-diskless-sync-delay 0")
    await eventually(lambda: role(replica) == "slave")
    with sentinel_of(replica.port) as sentinel:
        host = host_by(sentinel, socket_timeout=1)
        layer = layers(layer_class, host)
        message = {"type": "too.early"}
        for sending in (
            layer.group_send("room", message),
            asyncio.to_thread(async_to_sync(layer.group_send), "room", message),
        ):
            with pytest.raises(ReadOnlyError, match="is a replica"):
                await within(sending)
        with replica.client() as client:
            client.replicaof("NO", "ONE")
        await works(layers, layer_class, host)


async def test_failover_that_loses_messages(
    layer_class: LayerClass,
    layers: Layers,
    own_server: EmbeddedServer,
    proxy: TcpProxy,
    start_server: Callable[..., EmbeddedServer],
) -> None:
    """Members get all that the new master has, whether it is older than what it lost or newer."""
    replica = start_server(f"replicaof {HOST} {own_server.port}", "repl-diskless-sync-delay 0")
    layer = layers(layer_class, proxy.url, **HISTORY)
    sender = layers(layer_class, replica.url, **HISTORY)
    messages = numbered(4)
    channel, _ = await follow(layer)
    await send(layer, messages[:2])
    assert plain(await take_many(layer, channel, 2)) == messages[:2]
    with replica.client() as client:
        # Not WAIT, which asks for the writes of its own connection alone.
        await eventually(lambda: sum(map(client.xlen, client.keys("*history*"))) == 2)
        client.replicaof("NO", "ONE")
    await send(sender, messages[2:3])
    await send(layer, [{"type": "lost"}])
    assert plain([await take(layer, channel)]) == [{"type": "lost"}]
    proxy.server_port = replica.port
    proxy.cut()
    await send(sender, messages[3:])
    assert plain(await take_many(layer, channel, 2)) == messages[2:]
    assert layer.statistics().unrecovered == 0


async def test_silent_sentinel(redis_server: EmbeddedServer, layers: Layers) -> None:
    """A Sentinel that answers nothing costs no time, as another one does."""
    port = redis_server.port
    with sentinel_of(port) as silent, sentinel_of(port) as sentinel:
        silent.pause()
        host = {**host_by(silent, sentinel), "socket_timeout": 25, "socket_connect_timeout": 25}
        began = time.monotonic()
        for layer_class in LAYERS:
            await works(layers, layer_class, host)
        assert time.monotonic() - began < 20
        await layers.close()
