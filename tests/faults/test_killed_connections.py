"""All connections of a layer are killed, over and over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from support.messages import cancel, numbered, take_numbers, within
from support.queue_layers import Layers, StartRemoteLayer, nothing_else
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from embedded_server import EmbeddedServer

EVERY = 0.03  # seconds
# What a new connection says first. On a busy machine it may take longer than EVERY to do so.
HANDSHAKE = {"NULL", "auth", "hello", "client|setinfo", "select"}


class Killer:
    """Kills the connections of one user of a server, once each has sent a command."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self.killed = 0
        self.host = {"address": server.url, "username": "victim", "password": "secret"}
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "victim", "on", ">secret", "~*", "&*", "+@all")

    async def run(self) -> None:
        """Kill until cancelled."""
        with self._server.client() as client:
            while True:
                for one in client.client_list():
                    if one["user"] == "victim" and one["cmd"] not in HANDSHAKE:
                        self.killed += client.client_kill_filter(_id=one["id"])
                await asyncio.sleep(EVERY)


@pytest.fixture
async def killer(own_server: EmbeddedServer) -> AsyncIterator[Killer]:
    """Yield a running killer."""
    killer = Killer(own_server)
    task = asyncio.create_task(killer.run())
    yield killer
    await cancel(task)


async def test_channels_of_a_process(killer: Killer, own_layers: Layers) -> None:
    """Direct and group messages: none lost, none doubled, in order, no error out of `receive`."""
    layer, sender = own_layers(hosts=[killer.host]), own_layers()
    channels = [await layer.new_channel() for _ in range(5)]
    for channel in channels:
        await within(layer.group_add("room", channel))
    consumers = [asyncio.create_task(take_numbers(layer, channel, 300)) for channel in channels]
    for message in numbered(300):
        if message["number"] % 3:
            await sender.group_send("room", message)
        else:
            for channel in channels:
                await sender.send(channel, message)
        await asyncio.sleep(0.003)
    for numbers in await within(asyncio.gather(*consumers)):
        assert numbers == list(range(300))
    await eventually(lambda: killer.killed > 20)


async def test_four_processes(
    killer: Killer, own_layers: Layers, remote_layer: StartRemoteLayer
) -> None:
    """4,000 messages of a general channel that they drain: each comes once; no `receive` raises."""
    options = {"hosts": [killer.host], "capacity": 8000}
    workers = [await remote_layer(**options) for _ in range(4)]
    for worker in workers:
        await worker.call("drain", "jobs", 10)
    sender = own_layers(capacity=8000)
    for start in range(0, 4000, 50):
        await within(asyncio.gather(*(sender.send("jobs", m) for m in numbered(50, start))))
    await eventually(lambda: killer.killed > 50)

    async def drained() -> bool:
        counts: list[int] = [await worker.call("count") for worker in workers]
        return sum(counts) >= 4000

    await eventually(drained, timeout=50)
    for worker in workers:
        await worker.call("stop")
    results = [await worker.call("drained") for worker in workers]
    assert sorted(number for one in results for number in one["numbers"]) == list(range(4000))
    assert not any(one["errors"] for one in results)


async def test_senders(killer: Killer, own_layers: Layers) -> None:
    """Of the messages whose `send` returned none is lost, and no message arrives twice."""
    sender = own_layers(hosts=[killer.host], capacity=2000)
    layer = own_layers(capacity=2000)
    channel = await layer.new_channel()
    sent, failed = [], 0
    for message in numbered(1000):
        result: Any = await asyncio.gather(sender.send(channel, message), return_exceptions=True)
        if result == [None]:
            sent.append(message["number"])
        else:
            failed += 1
        if message["number"] % 50 == 0:
            await asyncio.sleep(EVERY)
    await layer.send(channel, {"number": -1})
    numbers: list[int] = []
    while -1 not in numbers:
        numbers += await take_numbers(layer, channel, 1)
    assert set(sent) <= set(numbers)
    assert numbers[:-1] == sorted(set(numbers) - {-1})
    assert failed < 500
    assert killer.killed > 10


async def test_members_that_come_and_go(killer: Killer, own_layers: Layers) -> None:
    """Joins and discards succeed through it all, and mean what they say."""
    layer, sender = own_layers(hosts=[killer.host]), own_layers()
    channel = await layer.new_channel()
    for number in range(60):
        room = f"room-{number}"
        await within(layer.group_add(room, channel))
        await sender.group_send(room, {"number": number})
        await within(layer.group_discard(room, channel))
        await sender.group_send(room, {"number": -2})
        assert await take_numbers(layer, channel, 1) == [number]
    await nothing_else(sender, "elsewhere")
    await sender.send(channel, {"number": -1})
    assert await take_numbers(layer, channel, 1) == [-1]


async def test_general_channel_and_cancelled_receivers(killer: Killer, own_layers: Layers) -> None:
    """Receivers that are cancelled while connections break: none lost, none doubled."""
    layer, sender = own_layers(hosts=[killer.host]), own_layers(capacity=2000)
    numbers: list[int] = []

    async def send() -> None:
        for message in numbered(400):
            await sender.send("jobs", message)
            await asyncio.sleep(0.005)

    sending = asyncio.create_task(send())
    while len(numbers) < 400:
        receiving = asyncio.create_task(layer.receive("jobs"))
        await asyncio.wait([receiving], timeout=0.02 if sending.done() else 0.003)
        await cancel(receiving)
        if not receiving.cancelled():
            numbers.append(receiving.result()["number"])
    await sending
    assert sorted(numbers) == list(range(400))
