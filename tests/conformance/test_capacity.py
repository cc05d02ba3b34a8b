"""Capacity: a full channel refuses messages, a group drops them."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from channels.exceptions import ChannelFull

from conformance.capabilities import Capability, needs
from conformance.promises import Advice, Beyond, Extensions, Required, checks
from support.messages import joined, numbered, take, take_many, within

if TYPE_CHECKING:
    from conformance.layer_case import ChannelLayer, LayerCase

MESSAGE = {"type": "test.message"}
MANY = 100  # more than any capacity used here


@checks(Advice.CAPACITY)
@needs(Capability.CAPACITY, Capability.QUEUE)
async def test_sends_at_once_are_counted(case: LayerCase) -> None:
    """Of many sends at once a general channel takes its capacity, too."""
    layer = case.layer(capacity=3)
    sends = (layer.send("jobs", MESSAGE) for _ in range(MANY))
    outcomes = await within(asyncio.gather(*sends, return_exceptions=True))
    assert outcomes.count(None) == 3 * case.variant.shards
    assert {type(outcome) for outcome in outcomes} == {type(None), ChannelFull}


@checks(Advice.CAPACITY)
@needs(Capability.CAPACITY)
async def test_refused_message_never_arrives(case: LayerCase) -> None:
    """Accepted messages arrive, refused ones do not."""
    layer, room = case.layer(capacity=2), 2 * case.variant.process_capacity
    channel = await layer.new_channel()
    for message in numbered(room):
        await within(layer.send(channel, message))
    with pytest.raises(ChannelFull):
        await within(layer.send(channel, {"type": "refused"}))
    assert await take_many(layer, channel, room) == numbered(room)
    await case.nothing_else(layer, channel)


@checks(Advice.CAPACITY)
@needs(Capability.CAPACITY, Capability.QUEUE)
async def test_received_messages_make_room(case: LayerCase) -> None:
    """A general channel takes its capacity (on each shard); once read, at least as much again.

    It may take more, while a layer holds some for a receiver that it expects back.
    """
    layer = case.layer(capacity=2)
    accepted = await fill(layer, "jobs")
    assert accepted == 2 * case.variant.shards
    await take_many(layer, "jobs", accepted)
    assert await fill(layer, "jobs") >= accepted


@checks(Beyond.OWN_CAPACITY)
@needs(Capability.CAPACITY)
async def test_flooded_channel_leaves_room_for_the_others_of_its_process(case: LayerCase) -> None:
    """While it has its capacity of messages, those to the others and their groups arrive."""
    layer = case.layer(capacity=4)
    flooded, quiet = await layer.new_channel(), await joined(layer, "room")
    for _ in range(4):
        await within(layer.send(flooded, MESSAGE))
    await within(layer.group_send("room", {"type": "to.group"}))
    await within(layer.send(quiet, {"type": "direct"}))
    assert await take_many(layer, quiet, 2) == [{"type": "to.group"}, {"type": "direct"}]
    assert await take_many(layer, flooded, 4) == [MESSAGE] * 4


@checks(Required.SHARED_CAPACITY)
@needs(Capability.SHARED_CAPACITY)
async def test_channels_of_a_process_share_their_capacity(case: LayerCase) -> None:
    """An empty channel is full if another one of its process is."""
    layer = case.layer(capacity=4)
    flooded, other = await layer.new_channel(), await layer.new_channel()
    assert await fill(layer, flooded) == 4 * case.variant.process_capacity
    assert await fill(layer, other) == 0


@checks(Required.NEVER_BLOCK)
async def test_sending_does_not_wait_for_a_receiver(case: LayerCase) -> None:
    """Sends to channels without a receiver return, or raise ChannelFull."""
    layer = case.layer(capacity=5)
    for channel in (await layer.new_channel(), "jobs"):
        for message in numbered(20):
            with suppress(ChannelFull):
                await within(layer.send(channel, message))


@checks(Extensions.GROUP_SEND_NEVER_FULL)
@needs(Capability.CAPACITY, Capability.GENERAL_MEMBERS, Capability.QUEUE)
async def test_group_send_drops_at_a_full_channel(case: LayerCase) -> None:
    """A group message passes by a full member without an error, and reaches the others."""
    layer = case.layer(capacity=1)
    await within(layer.group_add("room", "full"))
    free = await joined(layer, "room")
    accepted = await fill(layer, "full")
    await within(layer.group_send("room", {"type": "to.group"}))
    assert await take(layer, free) == {"type": "to.group"}
    assert await take_many(layer, "full", accepted) == [MESSAGE] * accepted
    await case.nothing_else(layer, "full")


@checks(Extensions.GROUP_SEND_NEVER_FULL)
@needs(Capability.CAPACITY)
async def test_group_send_never_raises_channel_full(case: LayerCase) -> None:
    """A group may be sent to however full all of its members are."""
    layer, room = case.layer(capacity=2), 2 * case.variant.process_capacity
    channel = await joined(layer, "room")
    for message in numbered(room + 3):
        await within(layer.group_send("room", message))
    assert await take_many(layer, channel, room) == numbered(room)
    await case.nothing_else(layer, channel)


@checks(Advice.CAPACITY_BY_NAME)
@needs(Capability.CAPACITY_PATTERNS, Capability.CAPACITY)
async def test_channel_capacity_takes_globs_and_patterns(case: LayerCase) -> None:
    """The first glob or compiled pattern that matches a channel's name gives its capacity."""
    patterns = {
        "mail.late": 4,
        "mail.*": 1,
        "mail.soon": 3,
        re.compile(r"^image\.(small|large)$"): 2,
        "chat.*": 2,
    }
    layer = case.layer(capacity=5, channel_capacity=patterns)
    shards = case.variant.shards
    assert await fill(layer, "mail.urgent") == 1 * shards
    assert await fill(layer, "image.small") == 2 * shards
    assert await fill(layer, "image.other") == 5 * shards
    assert await fill(layer, "a.mail.urgent") == 5 * shards
    assert await fill(layer, "mail.late") == 4 * shards
    assert await fill(layer, "mail.soon") == 1 * shards
    own = await layer.new_channel("chat")
    assert await fill(layer, own) == 2 * case.variant.process_capacity


async def fill(layer: ChannelLayer, channel: str) -> int:
    """Send until the channel refuses; return how many messages it took."""
    for accepted in range(MANY):
        try:
            await within(layer.send(channel, MESSAGE))
        except ChannelFull:
            return accepted
    pytest.fail(f"{channel} took {MANY} messages without ChannelFull")
