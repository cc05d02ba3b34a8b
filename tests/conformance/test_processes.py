"""Processes: layers on the same servers reach each other."""

from __future__ import annotations

import asyncio

import pytest

from conformance.capabilities import Capability, needs
from conformance.layer_case import ChannelLayer, LayerCase, waiting_receiver
from conformance.promises import Beyond, Extensions, Required, checks
from support.messages import joined, numbered, take, take_many, within

pytestmark = [needs(Capability.PROCESSES)]


@pytest.fixture
def other(case: LayerCase) -> ChannelLayer:
    """Another process, as a second layer with the same options."""
    return case.layer()


@checks(Required.PROCESSES)
async def test_process_sends_to_another(
    case: LayerCase, layer: ChannelLayer, other: ChannelLayer
) -> None:
    """Any process may send to a channel whose name it was told, and wakes who receives there."""
    channels = [await layer.new_channel() for _ in range(20)]
    for channel, message in zip(channels, numbered(20), strict=True):
        await within(other.send(channel, message))
    assert [await take(layer, channel) for channel in channels] == numbered(20)
    receiver = await waiting_receiver(layer, channels[0])
    await within(other.send(channels[0], {"type": "hello"}))
    assert await receiver == {"type": "hello"}
    await case.nothing_else(layer, channels[0])


@checks(Required.FIRST_IN_FIRST_OUT)
async def test_order_is_kept_between_processes(case: LayerCase) -> None:
    """Messages to another process's channel arrive in order."""
    layer, other = case.layer(capacity=300), case.layer(capacity=300)
    channel = await layer.new_channel()

    async def send_all() -> None:
        for message in numbered(200):
            await other.send(channel, message)

    received, _ = await within(asyncio.gather(take_many(layer, channel, 200), send_all()))
    assert received == numbered(200)


@checks(Required.PROCESSES)
@needs(Capability.QUEUE)
async def test_process_leaves_work_for_another(
    case: LayerCase, layer: ChannelLayer, other: ChannelLayer
) -> None:
    """A general channel carries messages from one process to a worker in another."""
    for message in numbered(10):
        await within(layer.send("jobs", message))
    received = await take_many(other, "jobs", 10)
    assert sorted(received, key=lambda message: message["number"]) == numbered(10)
    await case.nothing_else(other, "jobs")


@checks(Extensions.GROUP_SEND)
async def test_group_spans_processes(case: LayerCase) -> None:
    """Whichever process sends, the members in all processes get one copy each."""
    layers = [case.layer() for _ in range(3)]
    members = [(layer, await joined(layer, "room")) for layer in layers for _ in range(3)]
    for number, layer in enumerate([*layers, case.layer()]):
        await within(layer.group_send("room", {"type": "hello", "number": number}))
    for layer, member in members:
        # In whichever order: there is none between senders that reach different nodes of a Cluster.
        numbers = [message["number"] for message in await take_many(layer, member, 4)]
        assert sorted(numbers) == [0, 1, 2, 3]
        await case.nothing_else(layer, member)


@checks(Extensions.GROUP_DISCARD)
async def test_member_that_left_is_out_for_all_processes(
    case: LayerCase, layer: ChannelLayer, other: ChannelLayer
) -> None:
    """After `group_discard` no process reaches the channel through the group."""
    leaves, stays = await joined(layer, "room"), await joined(other, "room")
    await within(layer.group_discard("room", leaves))
    await within(other.group_send("room", {"type": "hello"}))
    assert await take(other, stays) == {"type": "hello"}
    await case.nothing_else(layer, leaves)


@checks(Beyond.FOREIGN_CHANNELS)
@needs(Capability.FOREIGN_MEMBERS)
async def test_process_adds_a_channel_of_another(
    case: LayerCase, layer: ChannelLayer, other: ChannelLayer
) -> None:
    """A view may add a consumer's channel to a group, and remove it again."""
    channel = await layer.new_channel()
    await within(other.group_add("room", channel))
    for sender in (layer, other):
        await within(sender.group_send("room", {"type": "hello"}))
    assert await take_many(layer, channel, 2) == [{"type": "hello"}] * 2
    await within(other.group_discard("room", channel))
    for sender in (layer, other):
        await within(sender.group_send("room", {"type": "unheard"}))
    await case.nothing_else(layer, channel)


@checks(Beyond.FOREIGN_CHANNELS)
@needs(Capability.FOREIGN_MEMBERS)
async def test_process_takes_out_what_another_added(
    case: LayerCase, layer: ChannelLayer, other: ChannelLayer
) -> None:
    """Any process may remove a channel from a group, whichever has added it."""
    added_here, added_there = await layer.new_channel(), await layer.new_channel()
    stays = await joined(layer, "room")
    await within(layer.group_add("room", added_here))
    await within(other.group_discard("room", added_here))
    await within(other.group_add("room", added_there))
    await within(layer.group_discard("room", added_there))
    await within(other.group_send("room", {"type": "hello"}))
    assert await take(layer, stays) == {"type": "hello"}
    await case.nothing_else(layer, added_here)
    await case.nothing_else(layer, added_there)


@checks(Beyond.FOREIGN_CHANNELS)
@needs(Capability.FOREIGN_MEMBERS)
async def test_channel_added_by_two_processes_gets_one_copy(
    case: LayerCase, layer: ChannelLayer, other: ChannelLayer
) -> None:
    """A channel is a member once, even if several processes add it, in any order."""
    own_first, other_first = await layer.new_channel(), await layer.new_channel()
    for first, second, channel in ((layer, other, own_first), (other, layer, other_first)):
        await within(first.group_add("room", channel))
        await within(second.group_add("room", channel))
    await within(other.group_send("room", {"type": "hello"}))
    for channel in (own_first, other_first):
        assert await take(layer, channel) == {"type": "hello"}
        await case.nothing_else(layer, channel)


@checks(Beyond.LOOPS)
async def test_layer_closed_by_one_process_leaves_others_alone(case: LayerCase) -> None:
    """A process that ends takes nothing with it but itself."""
    stays, ends = case.layer(), case.layer()
    channel, _ = await joined(stays, "room"), await joined(ends, "room")
    await within(case.close(ends))
    await within(stays.group_send("room", {"type": "hello"}))
    assert await take(stays, channel) == {"type": "hello"}
