"""Groups: members of one process share a name in Redis, whichever process changes them."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from channels_redis_queue import keys, publisher, scripts
from channels_redis_queue._shared.transport.commands import Script
from channels_redis_queue.keys import Keys, virtual_channel
from channels_redis_queue.layer import PROCESS_CAPACITY
from support.counting import count_commands
from support.messages import joined, numbered, take, take_numbers, within
from support.queue_layers import (
    Layers,
    StartRemoteLayer,
    beside,
    names_in,
    nothing_else,
    waiting,
)
from support.waiting import eventually


@pytest.mark.usefixtures("frequent_checks")
async def test_one_name_for_a_process(layers: Layers) -> None:
    """Redis holds one name for all members of a process, and none when the last has left."""
    layer = layers()
    members = [await layer.new_channel() for _ in range(50)]
    other_prefix = await layer.new_channel("mine")
    for member in [*members, other_prefix]:
        await layer.group_add("room", member)
    process = layer.client_prefix
    assert sorted(await names_in(layer, "room")) == [
        f"mine.{process}!:g:room",
        f"specific.{process}!:g:room",
    ]
    await layer.group_send("room", {"type": "hello"})
    assert await take(layer, other_prefix) == {"type": "hello"}
    for member in members:
        assert await take(layer, member) == {"type": "hello"}
        await layer.group_discard("room", member)

    async def others_left() -> bool:
        return await names_in(layer, "room") == [f"mine.{process}!:g:room"]

    await eventually(others_left)


@pytest.mark.parametrize("reader", ["late", "waiting"])
async def test_second_discard_lets_nothing_in(layers: Layers, reader: str) -> None:
    """A handler and then `disconnect` discard: what was sent between the two does not arrive."""
    layer, other = layers(), layers()
    channel = await joined(layer, "room")
    receiver = await waiting(layer, channel) if reader == "waiting" else None
    await layer.group_discard("room", channel)
    await other.group_send("room", {"type": "unheard"})
    await layer.group_discard("room", channel)
    if receiver is None:
        await nothing_else(layer, channel)
    else:
        await other.send(channel, {"type": "direct"})
        assert await within(receiver) == {"type": "direct"}


async def test_another_process_discards_when_the_message_key_is_full(
    layers: Layers, remote_layer: StartRemoteLayer
) -> None:
    """The end of a membership finds its way past any number of waiting messages."""
    layer, other = layers(capacity=3), await remote_layer(**layers.options, capacity=3)
    channel, room = await layer.new_channel(), 3 * PROCESS_CAPACITY
    await layer.group_add("room", channel)
    for message in numbered(room - 1):
        await other.send(channel, message)
    for message in numbered(room + 1)[room - 1 :]:
        await other.group_send("room", message)  # the last finds the key full
    await other.group_discard("room", channel)
    assert await take_numbers(layer, channel, room) == list(range(room))
    await other.group_send("room", {"type": "unheard"})
    await nothing_else(layer, channel)


async def test_burst_waits_for_a_reader_that_is_held_up(
    layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many sends at once, far beyond the capacity, lose nothing."""
    # So long that no busy machine holds up the reader for more.
    monkeypatch.setattr(publisher, "STALL_TIMEOUT", 10)
    layer, sender = layers(capacity=4), layers(capacity=4)
    channel = await joined(layer, "room")
    received = asyncio.ensure_future(take_numbers(layer, channel, 500))
    key, full = beside(layer, channel).key, threading.Event()

    async def burst() -> None:
        sends = [
            asyncio.ensure_future(sender.group_send("room", message)) for message in numbered(500)
        ]
        with layers.server.client() as client:
            await eventually(lambda: client.zcard(key) == 4 * PROCESS_CAPACITY)
        full.set()
        await asyncio.gather(*sends)

    sending = asyncio.ensure_future(asyncio.to_thread(asyncio.run, burst()))
    await asyncio.sleep(0)
    assert full.wait(30)  # this blocks the loop of the reader
    assert sorted(await within(received)) == list(range(500))
    await sending
    assert sender.statistics().dropped.capacity == 0


async def test_stalled_reader_delays_a_sender_once(layers: Layers) -> None:
    """Until it takes again; then a burst waits for it as before."""
    layer, sender = layers(capacity=1), layers(capacity=1)
    room = PROCESS_CAPACITY
    channel = await joined(layer, "room")
    before = time.monotonic()
    for message in numbered(100):
        await sender.group_send("room", message)
    assert time.monotonic() - before < 4
    assert sender.statistics().dropped.capacity == 100 - room
    assert await take_numbers(layer, channel, room) == list(range(room))
    await sender.group_send("room", {"number": 100})
    received = asyncio.ensure_future(take_numbers(layer, channel, 101))
    await asyncio.gather(*(sender.group_send("room", one) for one in numbered(100, 101)))
    assert sorted(await received) == list(range(100, 201))


@pytest.mark.parametrize("key", ["__asgi_channel__", "__asgi_group__", "__asgi_leave__"])
async def test_what_a_sender_writes_cannot_be_forged(layers: Layers, key: str) -> None:
    """No message has the names that stand for a process's members, or a leave."""
    with pytest.raises(ValueError, match=key):
        await layers().send("jobs", {"type": "forged", key: ["specific.x!:g:room"]})


async def test_large_group_changes_under_a_sender_that_knows_it(layers: Layers) -> None:
    """A message sent with outdated names reaches only current members."""
    layer, other = layers(), layers()
    members = [await other.new_channel() for _ in range(200)]
    for member in members:
        await layer.group_add("room", member)
    for number in range(4):
        await layer.group_send("room", {"number": number})
    for member in members:
        assert await take_numbers(other, member, 4) == [0, 1, 2, 3]
    late = await other.new_channel()
    await layer.group_discard("room", members[0])
    await layer.group_add("room", late)
    for number in range(4):
        await layer.group_send("room", {"number": number})
    for member in [*members[1:], late]:
        assert await take_numbers(other, member, 4) == [0, 1, 2, 3]
    await nothing_else(other, members[0])


async def test_server_clock_goes_back(layers: Layers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members from before the jump can leave, and join again at once."""
    layer, other = layers(), layers()
    with monkeypatch.context() as patch:
        ahead = Script.of(scripts.GROUP_ADD.source.replace("/ 1000000", "/ 1000000 + 1000"))
        patch.setattr(scripts, "GROUP_ADD", ahead)
        patch.setattr(scripts, "ALL", [*scripts.ALL, ahead])
        leaves, returns = await joined(layer, "room"), await joined(layer, "room")
    await joined(layer, "room")
    await within(layer.group_discard("room", leaves))
    await within(other.group_discard("room", returns))
    await within(layer.group_add("room", returns))
    await within(other.group_send("room", {"type": "hello"}))
    assert await take(layer, returns) == {"type": "hello"}
    await nothing_else(layer, leaves)


async def test_body_for_many_processes(own_layers: Layers, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes to the server once, each process gets it, and senders seldom ask who is alive.

    A large one takes several calls, so that the server serves others in between.
    """
    # The first time at once.
    monkeypatch.setattr("channels_redis_queue.protocol.group_cache.LIVENESS_CHECK_INTERVAL", 0)
    monkeypatch.setattr(publisher, "MAX_CALL_BYTES", 1_000_000)
    layer, message = own_layers(), {"type": "long", "text": "x" * 2000}
    processes = [f"specific.{keys.new_process_id()}!" for _ in range(8)]
    names = {virtual_channel(address, "room"): time.time() for address in processes}
    with own_layers.server.client() as client:
        client.zadd(Keys(layer.prefix).group("room"), names)
        with count_commands(own_layers.server) as first:
            await layer.group_send("room", message)
        with count_commands(own_layers.server) as counted:
            await layer.group_send("room", message)
        with count_commands(own_layers.server) as large:
            await layer.group_send("room", {"type": "long", "text": "x" * 400_000})
        found = [client.zrange(beside(layer, process).key, 0, -1) for process in processes]
    assert [len(messages) for messages in found] == [3] * 8
    assert len({messages[1] for messages in found}) == 1
    assert counted.bytes_in < 4000
    assert large.bytes_in > 2 * 400_000
    assert first.commands.keys() >= {"get", "ttl"}
    assert not counted.commands.keys() & {"get", "ttl"}
