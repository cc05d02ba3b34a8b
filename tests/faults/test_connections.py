"""Connections that break over and over: each fault of the table, and what holds through it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from support.messages import cancel, numbered, take_numbers, within
from support.queue_layers import Layers, nothing_else

if TYPE_CHECKING:
    from collections.abc import Callable

    from channels_redis_queue import RedisChannelLayer
    from support.proxy import TcpProxy

    Fault = Callable[[TcpProxy], object]

MESSAGES = 200
FAULTS: dict[str, Fault] = {
    "closed": lambda proxy: proxy.cut(),
    "reset": lambda proxy: proxy.reset(),
    "reply is lost": lambda proxy: proxy.lose_reply(),
    "reply to a script is lost": lambda proxy: proxy.lose_reply(to=b"EVALSHA"),
}


class Faulty:
    """A layer whose connections break, and one on the same server whose connections hold."""

    def __init__(self, layers: Layers, proxy: TcpProxy, fault: Fault) -> None:
        self.layer: RedisChannelLayer = layers(hosts=[proxy.url], capacity=2 * MESSAGES)
        self.other: RedisChannelLayer = layers(capacity=2 * MESSAGES)
        self._proxy = proxy
        self._fault = fault
        self._calls = 0

    async def pass_time(self, *, calls: int = 20) -> None:
        """Let the connections break once in so many calls."""
        self._calls += 1
        if self._calls % calls == 0:
            self._fault(self._proxy)
        await asyncio.sleep(0.002)


@pytest.fixture(params=FAULTS)
async def faulty(request: pytest.FixtureRequest, own_layers: Layers, proxy: TcpProxy) -> Faulty:
    """Return two layers, with each fault in turn."""
    return Faulty(own_layers, proxy, FAULTS[request.param])


async def test_channels_of_a_process(faulty: Faulty) -> None:
    """Direct and group messages: none lost, none doubled, in order, no error out of `receive`."""
    layer = faulty.layer
    channels = [await layer.new_channel() for _ in range(3)]
    for channel in channels:
        await within(layer.group_add("room", channel))
    consumers = [asyncio.create_task(take_numbers(layer, name, MESSAGES)) for name in channels]
    for message in numbered(MESSAGES):
        if message["number"] % 3:
            await faulty.other.group_send("room", message)
        else:
            for channel in channels:
                await faulty.other.send(channel, message)
        await faulty.pass_time()
    for numbers in await within(asyncio.gather(*consumers)):
        assert numbers == list(range(MESSAGES))
    for channel in channels:
        # The last fault may still lie ahead, and would fail a call of the layer's own.
        await nothing_else(layer, channel, faulty.other)


async def test_general_channel_and_cancelled_receivers(faulty: Faulty) -> None:
    """Receivers that are cancelled meanwhile: none lost, none doubled."""
    numbers: list[int] = []

    async def send() -> None:
        for message in numbered(MESSAGES):
            await faulty.other.send("jobs", message)
            await faulty.pass_time()

    sending = asyncio.create_task(send())
    while len(numbers) < MESSAGES:
        receiving = asyncio.create_task(faulty.layer.receive("jobs"))
        await asyncio.wait([receiving], timeout=0.02 if sending.done() else 0.003)
        await cancel(receiving)
        if not receiving.cancelled():
            numbers.append(receiving.result()["number"])
    await sending
    assert sorted(numbers) == list(range(MESSAGES))


@pytest.mark.parametrize("kind", ["specific", "general", "group"])
async def test_senders(faulty: Faulty, kind: str) -> None:
    """Of the messages whose call returned none is lost; none arrives twice, or out of order."""
    layer, sender = faulty.other, faulty.layer
    channel = "jobs" if kind == "general" else await layer.new_channel()
    await layer.group_add("room", channel)

    async def read() -> list[int]:
        numbers = await take_numbers(layer, channel, 1)
        while numbers[-1] != MESSAGES:
            numbers += await take_numbers(layer, channel, 1)
        return numbers

    # At once: what is sent again while it still waits would count once.
    reading = asyncio.create_task(read())
    sent: set[int] = set()
    for message in numbered(MESSAGES):
        await faulty.pass_time()
        try:
            if kind == "group":
                await within(sender.group_send("room", message))
            else:
                await within(sender.send(channel, message))
        except RedisConnectionError:
            continue
        sent.add(message["number"])
    await layer.send(channel, {"number": MESSAGES})
    numbers = await within(reading)
    assert sent < set(numbers)
    assert numbers == sorted(set(numbers))
    assert len(sent) > MESSAGES / 2


async def test_members_that_come_and_go(faulty: Faulty) -> None:
    """Joins and discards succeed through it all, and mean what they say."""
    layer, other = faulty.layer, faulty.other
    own, foreign = await layer.new_channel(), await other.new_channel()
    for number in range(20):
        room = f"room-{number}"
        for channel in (own, foreign):
            await faulty.pass_time(calls=6)
            await within(layer.group_add(room, channel))
        await other.group_send(room, {"number": number})
        for channel in (own, foreign):
            await faulty.pass_time(calls=6)
            await within(layer.group_discard(room, channel))
        await other.group_send(room, {"number": -1})
        for reader, channel in ((layer, own), (other, foreign)):
            assert await take_numbers(reader, channel, 1) == [number]
    for reader, channel in ((layer, own), (other, foreign)):
        await nothing_else(reader, channel, other)
