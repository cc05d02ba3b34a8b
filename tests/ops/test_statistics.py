"""`layer.statistics()`: each number follows what happens, on real servers."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from channels.exceptions import ChannelFull

from channels_redis_queue import RedisChannelLayer
from support.layers import reaches
from support.messages import within
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded_server import EmbeddedServer

MESSAGE = {"type": "test.message"}


async def test_new_layer(make_layer: Callable[..., Any]) -> None:
    """A layer that has done nothing has zeros only, and asking sends nothing."""
    found = make_layer().statistics()
    assert set(dataclasses.astuple(found)) == {0, (0, 0, 0, 0)}
    assert found.commands_per_round_trip == 0.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.sent = 1


async def test_sent_and_received(make_layer: Callable[..., Any]) -> None:
    """Messages count where they are sent and where they are received, groups where members are."""
    sender = make_layer()
    reader = make_layer()
    channel = await within(reader.new_channel())
    await within(reader.group_add("room", channel))
    await within(reader.group_add("other", channel))
    for _ in range(3):
        await within(sender.send(channel, MESSAGE))
    await within(sender.group_send("room", MESSAGE))
    await within(reader.receive(channel))
    await eventually(lambda: reader.statistics().waiting == 3)
    found = reader.statistics()
    assert (found.received, found.mailboxes, found.waiting, found.groups) == (1, 1, 3, 2)
    assert (found.sent, found.reconnects, found.outage_seconds) == (0, 0, 0)
    for _ in range(3):
        await within(reader.receive(channel))
    assert reader.statistics().received == 4
    assert reader.statistics().waiting == 0
    found = sender.statistics()
    assert (found.sent, found.received, found.groups, found.mailboxes) == (4, 0, 0, 0)
    await within(reader.group_discard("other", channel))
    await eventually(lambda: reader.statistics().groups == 1)


async def test_commands_share_round_trips(make_layer: Callable[..., Any]) -> None:
    """Sends in one turn of the loop count separately, and go out in few writes."""
    layer = make_layer()
    channels = [await within(layer.new_channel()) for _ in range(20)]
    # As any event loop that lasts, it has its own connections from then on.
    for channel in channels:
        await within(layer.send(channel, MESSAGE))
    before = layer.statistics()
    await within(asyncio.gather(*(layer.send(channel, MESSAGE) for channel in channels)))
    after = layer.statistics()
    assert after.commands - before.commands == 20
    assert after.round_trips - before.round_trips < 5
    assert after.commands_per_round_trip == after.commands / after.round_trips


@pytest.mark.parametrize("layer_class", [RedisChannelLayer])
async def test_dropped_for_capacity(make_layer: Callable[..., Any]) -> None:
    """A send that raises ChannelFull counts, and so does each member that a group send misses."""
    layer = make_layer(capacity=1)
    channel = await within(layer.new_channel())
    await within(layer.group_add("room", channel))
    for _ in range(10):
        await within(layer.send(channel, MESSAGE))
    with pytest.raises(ChannelFull):
        await within(layer.send(channel, MESSAGE))
    for _ in range(2):
        await within(layer.group_send("room", MESSAGE))
    found = layer.statistics()
    assert found.dropped.capacity == 3
    assert found.sent == 12


async def test_dropped_as_undecodable(make_layer: Callable[..., Any]) -> None:
    """A message that was encrypted with another key counts."""
    plain = make_layer()
    reader = make_layer(symmetric_encryption_keys=["a key"])
    channel = await within(reader.new_channel())
    await within(plain.send(channel, MESSAGE))
    await within(reader.send(channel, MESSAGE))
    assert await within(reader.receive(channel)) == MESSAGE
    assert reader.statistics().dropped.undecodable == 1
    assert reader.statistics().received == 1


async def test_outages(make_layer: Callable[..., Any], own_server: EmbeddedServer) -> None:
    """An outage counts its seconds from the beginning, and its end as a reconnect."""
    layer = make_layer()
    channel = await within(layer.new_channel())
    await within(layer.send(channel, MESSAGE))
    await within(layer.receive(channel))
    waiting: asyncio.Future[Any] = asyncio.ensure_future(layer.receive(channel))
    await within(layer.group_add("room", channel))  # by now it waits
    own_server.kill()
    first = await eventually(lambda: layer.statistics().outage_seconds)
    await eventually(lambda: layer.statistics().outage_seconds > first)
    assert layer.statistics().reconnects == 0
    own_server.restart()
    await reaches(waiting, partial(layer.send, channel, MESSAGE))
    # The connection that receives, and that of commands.
    await eventually(lambda: layer.statistics().reconnects >= 2)
    ended = layer.statistics().outage_seconds
    assert ended > first
    assert layer.statistics().outage_seconds == ended


async def test_of_all_threads(make_layer: Callable[..., Any]) -> None:
    """The numbers are those of the whole process: other threads' messages are among them."""
    layer = make_layer()

    def in_thread() -> None:
        async def send() -> None:
            await layer.send("elsewhere", MESSAGE)
            await layer.close_pools()

        asyncio.run(send())

    threads = [threading.Thread(target=in_thread) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert layer.statistics().sent == 3
