"""Receivers: many at once, each message to one of them, cancelled without loss."""

from __future__ import annotations

import asyncio
import random

from conformance.capabilities import Capability, needs
from conformance.layer_case import ChannelLayer, LayerCase, waiting_receiver
from conformance.promises import Advice, Beyond, Required, checks
from support.messages import Message, cancel, numbered, take, take_many, within


@checks(Required.ALMOST_ALL)
async def test_many_channels_receive_at_once(layer: ChannelLayer) -> None:
    """A hundred consumers wait in one process, and each gets its own message."""
    channels = [await layer.new_channel() for _ in range(100)]
    receivers = [asyncio.create_task(take(layer, channel)) for channel in channels]
    for channel, message in zip(channels, numbered(100), strict=True):
        await within(layer.send(channel, message))
    assert await asyncio.gather(*receivers) == numbered(100)


@checks(Required.ONE_READER)
@needs(Capability.QUEUE, Capability.LISTENERS_ONE, Capability.MANY_RECEIVERS)
async def test_one_receiver_of_many_gets_each_message(case: LayerCase, layer: ChannelLayer) -> None:
    """Twenty receivers of a general channel share its messages: none lost, none doubled."""
    receivers = [await waiting_receiver(layer, "jobs") for _ in range(20)]
    for message in numbered(20):
        await within(layer.send("jobs", message))
    received = await asyncio.gather(*receivers)
    assert sorted(received, key=lambda message: message["number"]) == numbered(20)
    await case.nothing_else(layer, "jobs")


@checks(Required.ONE_READER)
@needs(Capability.PROCESSES, Capability.QUEUE, Capability.LISTENERS_ONE)
async def test_one_process_of_many_gets_each_message(case: LayerCase) -> None:
    """Three processes drain a general channel: none lost, none doubled."""
    layers = [case.layer(capacity=200) for _ in range(3)]
    everything: list[Message] = []
    done = asyncio.Event()

    async def work(layer: ChannelLayer) -> None:
        while not done.is_set():
            everything.append(await layer.receive("jobs"))
            if len(everything) >= 150:
                done.set()

    workers = [asyncio.create_task(work(layer)) for layer in layers]
    for message in numbered(150):
        await within(layers[0].send("jobs", message))
    await within(done.wait())
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert sorted(everything, key=lambda message: message["number"]) == numbered(150)
    await case.nothing_else(layers[0], "jobs")


@checks(Beyond.RECEIVERS)
@needs(Capability.MANY_RECEIVERS)
async def test_receivers_are_woken_in_the_order_of_waiting(layer: ChannelLayer) -> None:
    """The first waiter gets the first message."""
    channel = await layer.new_channel()
    receivers = [await waiting_receiver(layer, channel) for _ in range(5)]
    for message in numbered(5):
        await within(layer.send(channel, message))
    assert await asyncio.gather(*receivers) == numbered(5)


@checks(Beyond.RECEIVERS)
@needs(Capability.QUEUE, Capability.MANY_RECEIVERS, Capability.ORDER_OF_GENERAL)
async def test_receivers_of_a_general_channel_are_woken_in_order(layer: ChannelLayer) -> None:
    """The first waiter for a general channel in a process gets the first message."""
    receivers = [await waiting_receiver(layer, "jobs") for _ in range(5)]
    for message in numbered(5):
        await within(layer.send("jobs", message))
    assert await asyncio.gather(*receivers) == numbered(5)


@checks(Beyond.RECEIVERS)
@needs(Capability.MANY_RECEIVERS)
async def test_cancelled_receiver_leaves_its_place_to_the_next(layer: ChannelLayer) -> None:
    """With several receivers waiting, cancelling the first delays no other."""
    channel = await layer.new_channel()
    first = await waiting_receiver(layer, channel)
    second = await waiting_receiver(layer, channel)
    await cancel(first)
    assert first.cancelled()
    await within(layer.send(channel, {"type": "kept"}))
    assert await second == {"type": "kept"}


@checks(Required.ALMOST_ALL)
async def test_receives_cancelled_as_messages_arrive_lose_none(case: LayerCase) -> None:
    """Receives cancelled at random moments, as messages flow: all arrive once, in order."""
    layer = case.layer(capacity=1000)
    channel = await layer.new_channel()
    assert await received_between_cancels(layer, channel) == numbered(150)


@checks(Required.ALMOST_ALL)
@needs(Capability.QUEUE)
async def test_general_receives_cancelled_as_messages_arrive_lose_none(case: LayerCase) -> None:
    """The same for a general channel; its order may suffer from the hand-over."""
    layer = case.layer(capacity=1000)
    received = await received_between_cancels(layer, "jobs")
    assert sorted(received, key=lambda message: message["number"]) == numbered(150)
    await case.nothing_else(layer, "jobs")


@checks(Advice.FAIRNESS)
async def test_idle_receiver_does_not_hold_up_others(layer: ChannelLayer) -> None:
    """While one channel waits for a message, others of the process receive."""
    idle, busy = await layer.new_channel(), await layer.new_channel()
    receiver = await waiting_receiver(layer, idle)
    for message in numbered(20):
        await within(layer.send(busy, message))
    assert await take_many(layer, busy, 20) == numbered(20)
    assert not receiver.done()
    await cancel(receiver)
    assert receiver.cancelled()


@checks(Advice.FAIRNESS)
@needs(Capability.QUEUE)
async def test_worker_receives_from_several_general_channels(layer: ChannelLayer) -> None:
    """A worker waits on several general channels at once, and a busy one starves no other."""
    quiet = asyncio.create_task(take(layer, "quiet"))
    for message in numbered(50):
        await within(layer.send("busy", message))
    await within(layer.send("quiet", {"type": "one"}))
    busy = asyncio.create_task(take_many(layer, "busy", 50))
    assert await quiet == {"type": "one"}
    assert len(await busy) == 50


async def received_between_cancels(layer: ChannelLayer, channel: str) -> list[Message]:
    """Send 150 messages and receive them by tasks that get 0 to 2 ms each; return all."""
    dice = random.Random(150)
    received: list[Message] = []

    async def send_all() -> None:
        for message in numbered(150):
            await layer.send(channel, message)
            await asyncio.sleep(dice.random() / 1000)

    async def receive_all() -> None:
        while len(received) < 150:
            receiver = asyncio.create_task(layer.receive(channel))
            await asyncio.wait({receiver}, timeout=dice.random() / 500)
            receiver.cancel()
            await asyncio.wait({receiver})
            if not receiver.cancelled():
                received.append(receiver.result())

    await within(asyncio.gather(send_all(), receive_all()))
    return received
