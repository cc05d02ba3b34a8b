"""Consumers that come, join, leave and go while their connections are killed over and over."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from support.messages import cancel, take_many, within
from support.pubsub_layers import (
    BACK,
    LOST,
    NOTICES,
    Layers,
    inside,
    kill_subscriptions,
    subscribed,
)
from support.waiting import eventually

if TYPE_CHECKING:
    from channels_redis_pubsub import RedisPubSubChannelLayer
    from embedded_server import EmbeddedServer
    from support.messages import Message

GROUPS = [f"room-{number}" for number in range(6)]


class Consumer:
    """Joins and leaves groups at random, and receives all the while."""

    def __init__(self, layer: RedisPubSubChannelLayer, seed: int) -> None:
        self.layer = layer
        self.dice = random.Random(seed)
        self.groups: set[str] = set()
        self.received: list[Message] = []
        self.channel = ""

    async def live(self) -> None:
        """Receive until cancelled."""
        while True:
            self.received.append(await self.layer.receive(self.channel))

    async def change(self) -> None:
        """Join or leave a group."""
        group = self.dice.choice(GROUPS)
        if self.dice.random() < 0.6:
            await within(self.layer.group_add(group, self.channel))
            self.groups.add(group)
        else:
            await within(self.layer.group_discard(group, self.channel))
            self.groups.discard(group)

    def notices(self) -> list[Message]:
        """Return what it was told of outages."""
        return [message for message in self.received if message in (LOST, BACK)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("frequent_sweeps")
async def test_storm_of_outages_and_changes(
    own_server: EmbeddedServer, own_layers: Layers, seed: int
) -> None:
    """No call fails; afterwards the server has what is wanted, and each member gets one copy."""
    layer, sender = own_layers(**NOTICES, channel_expiry=1), own_layers()
    consumers = [Consumer(layer, 100 * seed + number) for number in range(30)]
    over = asyncio.Event()

    async def kill() -> None:
        for _ in range(25):
            kill_subscriptions(own_server)
            # Anything from the middle of reconnecting to after it.
            await asyncio.sleep(random.Random(seed).random() / 20)
        over.set()

    async def act(consumer: Consumer) -> None:
        consumer.channel = await within(layer.new_channel())
        receiver = asyncio.create_task(consumer.live())
        while not over.is_set():
            await consumer.change()
            passing = await within(layer.new_channel())
            await within(layer.group_add(consumer.dice.choice(GROUPS), passing))
            await cancel(asyncio.create_task(layer.receive(passing)))
            inside(layer).close(passing)
        # Returns when a connection that was opened after the last kill hears it.
        await within(layer.group_add(f"fence-{consumer.channel}", consumer.channel))
        await eventually(lambda: consumer.notices() and balanced(consumer))
        consumer.received.clear()
        for group in GROUPS:
            await within(sender.group_send(group, {"to": consumer.channel, "group": group}))
        await within(sender.send(consumer.channel, {"end": True}))
        await eventually(lambda: {"end": True} in consumer.received)
        await cancel(receiver)

    await asyncio.gather(kill(), *(act(consumer) for consumer in consumers))
    for consumer in consumers:
        got = [m["group"] for m in consumer.received if m.get("to") == consumer.channel]
        assert sorted(got) == sorted(consumer.groups)
    await eventually(lambda: not subscribed(own_server))
    assert not inside(layer).consumers.mailboxes.unread
    last = await within(layer.new_channel())
    await within(sender.send(last, {"type": "hello"}))
    assert await take_many(layer, last, 1) == [{"type": "hello"}]


def balanced(consumer: Consumer) -> bool:
    """Return whether each loss that it was notified of has ended, in order."""
    notices = consumer.notices()
    return notices == [LOST, BACK] * (len(notices) // 2)
