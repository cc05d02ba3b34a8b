"""Channels: messages arrive, in order, once."""

from __future__ import annotations

import asyncio

from conformance.capabilities import Capability, needs
from conformance.layer_case import ChannelLayer, LayerCase, waiting_receiver
from conformance.promises import Beyond, Required, checks
from support.messages import Message, joined, numbered, take, take_many, within

GREETING = {"type": "test.greeting", "text": "hello"}


@checks(Required.QUEUE)
async def test_message_reaches_its_receiver(layer: ChannelLayer) -> None:
    """A message waits for a receiver that comes later, and wakes one that waits."""
    channel = await layer.new_channel()
    await within(layer.send(channel, GREETING))
    assert await take(layer, channel) == GREETING
    receiver = await waiting_receiver(layer, channel)
    await within(layer.send(channel, GREETING))
    assert await receiver == GREETING


@checks(Required.QUEUE)
@needs(Capability.QUEUE)
async def test_general_channel_queues_its_messages(case: LayerCase, layer: ChannelLayer) -> None:
    """The same of a general channel, whose message arrives once."""
    await within(layer.send("jobs", GREETING))
    assert await take(layer, "jobs") == GREETING
    receiver = await waiting_receiver(layer, "jobs")
    await within(layer.send("jobs", GREETING))
    assert await receiver == GREETING
    await case.nothing_else(layer, "jobs")


@checks(Required.FIRST_IN_FIRST_OUT)
async def test_own_channel_is_first_in_first_out(case: LayerCase) -> None:
    """Messages of one sender to one channel arrive in the order of sending, at once or not."""
    layer = case.layer(capacity=200)
    channel = await layer.new_channel()
    messages = numbered(150)[::-1]  # in another order than that of their bytes
    for message in messages[:100]:
        await within(layer.send(channel, message))
    await within(asyncio.gather(*(layer.send(channel, message) for message in messages[100:])))
    assert await take_many(layer, channel, 150) == messages


@checks(Required.QUEUE)
@needs(Capability.QUEUE, Capability.ORDER_OF_GENERAL)
async def test_general_channel_is_first_in_first_out(case: LayerCase) -> None:
    """A general channel on one server keeps the order of sending as well."""
    layer = case.layer(capacity=200)
    messages = numbered(150)
    for message in messages:
        await within(layer.send("jobs", message))
    assert await take_many(layer, "jobs", 150) == messages


@checks(Required.FIRST_IN_FIRST_OUT)
async def test_each_sender_keeps_its_order(case: LayerCase) -> None:
    """Twenty senders at once: what each of them sent arrives in its order."""
    layer = case.layer(capacity=1000)
    channel = await layer.new_channel()

    async def send_ten(sender: int) -> None:
        for number in range(10):
            await within(layer.send(channel, {"type": "x", "from": sender, "number": number}))

    _, received = await asyncio.gather(
        asyncio.gather(*(send_ten(sender) for sender in range(20))),
        take_many(layer, channel, 200),
    )
    for sender in range(20):
        own = [message["number"] for message in received if message["from"] == sender]
        assert own == list(range(10))


@checks(Required.QUEUE)
async def test_channels_of_one_process_do_not_mix(layer: ChannelLayer) -> None:
    """Each of a process's channels gets its own messages only, in whatever order they are read."""
    channels = [await layer.new_channel() for _ in range(5)]
    for number, channel in enumerate(channels):
        for message in numbered(3, start=10 * number):
            await within(layer.send(channel, message))
    for number, channel in reversed(list(enumerate(channels))):
        assert await take_many(layer, channel, 3) == numbered(3, start=10 * number)


@checks(Required.QUEUE)
@needs(Capability.QUEUE)
async def test_general_channels_do_not_mix(case: LayerCase, layer: ChannelLayer) -> None:
    """A channel whose name begins with another's name is another channel."""
    await within(layer.send("jobs", {"type": "short"}))
    await within(layer.send("jobs.urgent", {"type": "long"}))
    assert await take(layer, "jobs.urgent") == {"type": "long"}
    assert await take(layer, "jobs") == {"type": "short"}
    await case.nothing_else(layer, "jobs.urgent")


@checks(Required.QUEUE)
async def test_channel_and_group_of_one_name_are_two_things(layer: ChannelLayer) -> None:
    """A group may have the name of a channel."""
    channel = await layer.new_channel()
    group = channel.replace("!", "-")
    await within(layer.group_add(group, channel))
    await within(layer.group_send(group, {"type": "to.group"}))
    assert await take(layer, channel) == {"type": "to.group"}
    await within(layer.send(channel, {"type": "to.channel"}))
    assert await take(layer, channel) == {"type": "to.channel"}


@checks(Beyond.LISTENERS)
@needs(Capability.LISTENERS_ALL)
async def test_general_channel_reaches_every_listening_process(case: LayerCase) -> None:
    """Without a queue, each process that receives from a channel gets its messages."""
    layers = [case.layer() for _ in range(3)]
    sender = case.layer()
    greeted: list[bool] = []

    async def listen(layer: ChannelLayer) -> Message:
        greeted.append((await take(layer, "news")) == GREETING)
        while (message := await take(layer, "news")) == GREETING:
            pass
        return message

    listeners = [asyncio.create_task(listen(layer)) for layer in layers]

    async def greet_until_all_listen() -> None:
        while len(greeted) < len(layers):
            await sender.send("news", GREETING)
            await asyncio.sleep(0.01)

    await within(greet_until_all_listen())
    await within(sender.send("news", {"type": "once"}))
    assert await within(asyncio.gather(*listeners)) == [{"type": "once"}] * 3


@checks(Beyond.PREFIXES)
@needs(Capability.PROCESSES, Capability.OTHER_PREFIXES, Capability.PREFIXED_CHANNELS)
async def test_prefixes_keep_channels_apart(case: LayerCase) -> None:
    """Layers with different prefixes share a server, but no channel."""
    ours, theirs = case.layer(), case.layer(prefix=f"other-{case.prefix}")
    channel = await ours.new_channel()
    for name in (channel, "jobs"):
        await within(theirs.send(name, {"type": "foreign"}))
        await case.nothing_else(ours, name)


@checks(Beyond.PREFIXES)
@needs(Capability.PROCESSES, Capability.OTHER_PREFIXES)
async def test_prefixes_keep_groups_apart(case: LayerCase) -> None:
    """Layers with different prefixes share a server, but no group."""
    ours, theirs = case.layer(), case.layer(prefix=f"other-{case.prefix}")
    channel, foreign = await joined(ours, "room"), await joined(theirs, "room")
    await within(theirs.group_send("room", {"type": "foreign"}))
    assert await take(theirs, foreign) == {"type": "foreign"}
    await case.nothing_else(ours, channel)
