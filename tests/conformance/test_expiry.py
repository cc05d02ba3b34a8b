"""Expiry of unread messages and of memberships that are not renewed.

Times are given in whole seconds, so a test here lasts as long as the time that it is about. What
can pass at once does: each test runs several scenarios beside each other.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from channels.exceptions import ChannelFull

from conformance.capabilities import Capability, needs
from conformance.promises import Advice, Beyond, Extensions, checks
from support.messages import Message, joined, numbered, take, within
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from conformance.layer_case import ChannelLayer, LayerCase

STALE, FRESH = numbered(2)
MARGIN = 0.1  # seconds after which a time is surely over


@checks(Advice.CAPACITY_BY_NAME)
@needs(Capability.EXPIRY, Capability.GROUP_EXPIRY)
async def test_times_are_attributes(case: LayerCase) -> None:
    """`expiry` and `capacity` are the constructor's arguments, and readable like `group_expiry`."""
    layer = case.layer(expiry=11, group_expiry=12, capacity=13)
    assert (layer.expiry, layer.group_expiry, layer.capacity) == (11, 12, 13)


@checks(Advice.EXPIRY)
@needs(Capability.EXPIRY)
async def test_messages_expire(case: LayerCase) -> None:
    """After `expiry` seconds a message is never delivered, and newer ones are."""
    await at_once(
        unread(case),
        unread_from_group(case),
        unread_beside_a_channel_that_is_read(case),
        newer_message_is_kept(case),
    )


@checks(Advice.EXPIRY)
@needs(Capability.EXPIRY, Capability.CAPACITY, Capability.QUEUE)
async def test_queued_messages_expire(case: LayerCase) -> None:
    """Messages of a general channel expire as well, and no longer count."""
    await at_once(unread(case, "jobs"), expired_messages_make_room(case))


@checks(Extensions.GROUP_EXPIRY)
@needs(Capability.GROUP_EXPIRY, Capability.GENERAL_MEMBERS)
async def test_memberships_expire(case: LayerCase) -> None:
    """`group_expiry` seconds after the latest `group_add` a channel is no member any more."""
    await at_once(
        membership_ends_unless_renewed(case),
        membership_ends_unless_renewed(case, "renewed", "forgotten"),
        membership_outlives_messages(case),
    )


@checks(Beyond.FOREIGN_CHANNELS)
@needs(Capability.GROUP_EXPIRY, Capability.FOREIGN_MEMBERS)
async def test_foreign_memberships_expire(case: LayerCase) -> None:
    """So it does where another process has called `group_add`."""
    await membership_ends_unless_renewed(case, are_foreign=True)


async def unread(case: LayerCase, channel: str = "") -> None:
    """A message in a channel that its process does not read, or in one that no worker reads."""
    layer = case.layer(expiry=1)
    channel = channel or await layer.new_channel()
    await within(layer.send(channel, STALE))
    await until(time.monotonic() + 1 + MARGIN)
    await case.nothing_else(layer, channel)


async def unread_from_group(case: LayerCase) -> None:
    """A group message that one member does not read, after the other did."""
    layer = case.layer(expiry=1)
    reads, sleeps = await joined(layer, "unread"), await joined(layer, "unread")
    await within(layer.group_send("unread", STALE))
    sent = time.monotonic()
    assert await take(layer, reads) == STALE
    await until(sent + 1 + MARGIN)
    await case.nothing_else(layer, sleeps)


async def unread_beside_a_channel_that_is_read(case: LayerCase) -> None:
    """A message that came into the process along with one for another channel."""
    layer = case.layer(expiry=1)
    reads, sleeps = await layer.new_channel(), await layer.new_channel()
    await within(layer.send(sleeps, STALE))
    sent = time.monotonic()
    await within(layer.send(reads, FRESH))
    assert await take(layer, reads) == FRESH
    await until(sent + 1 + MARGIN)
    await case.nothing_else(layer, sleeps)


async def newer_message_is_kept(case: LayerCase) -> None:
    """A message that waited half its time, behind one that expired."""
    layer = case.layer(expiry=2)
    channel = await layer.new_channel()
    await within(layer.send(channel, STALE))
    sent = time.monotonic()
    await until(sent + 1)
    await within(layer.send(channel, FRESH))
    await until(sent + 2 + MARGIN)
    assert await take(layer, channel) == FRESH


async def expired_messages_make_room(case: LayerCase) -> None:
    """A full channel accepts messages again when those in it expire, and not before."""
    layer = case.layer(expiry=1, capacity=1)
    channel = await layer.new_channel()
    began = time.monotonic()
    for _ in range(case.variant.process_capacity):
        await within(layer.send(channel, STALE))
    await within(send_when_there_is_room(layer, channel, FRESH))
    assert time.monotonic() - began > 1 - MARGIN
    # There was room once the first had expired.
    while (message := await take(layer, channel)) == STALE:
        pass
    assert message == FRESH
    await case.nothing_else(layer, channel)


async def membership_ends_unless_renewed(
    case: LayerCase, *general: str, are_foreign: bool = False
) -> None:
    """One of two ends after two seconds, and the other does not: it is renewed in between.

    They are of general channels, of the process that adds and sends, or of another one.
    """
    layer = case.layer(group_expiry=2)
    owner = case.layer(group_expiry=2) if are_foreign else layer
    renewed, forgotten = general or [await owner.new_channel() for _ in range(2)]
    group = f"expires-{renewed.replace('!', '-')[:60]}"
    began = time.monotonic()
    await within(layer.group_add(group, renewed))
    await within(layer.group_add(group, forgotten))
    added = time.monotonic()
    await within(layer.group_send(group, STALE))
    # In tasks that end: a consumer that runs may keep its membership.
    assert await asyncio.create_task(take(owner, renewed)) == STALE
    assert await asyncio.create_task(take(owner, forgotten)) == STALE
    await until(began + 1.5)
    await within(layer.group_add(group, renewed))
    await until(added + 2 + MARGIN)
    await within(layer.group_send(group, FRESH))
    assert await take(owner, renewed) == FRESH
    await case.nothing_else(owner, forgotten)


async def membership_outlives_messages(case: LayerCase) -> None:
    """A consumer that is busy for longer than `expiry` stays a member."""
    layer = case.layer(expiry=1)
    channel = await joined(layer, "busy")
    await within(layer.group_send("busy", STALE))
    await until(time.monotonic() + 1 + MARGIN)
    await within(layer.group_send("busy", FRESH))
    assert await take(layer, channel) == FRESH


async def at_once(*scenarios: Coroutine[None, None, None]) -> None:
    """Run scenarios beside each other; let all of them end before one's failure is raised."""
    for outcome in await asyncio.gather(*scenarios, return_exceptions=True):
        if outcome is not None:
            raise outcome


async def send_when_there_is_room(layer: ChannelLayer, channel: str, message: Message) -> None:
    """Try to send until the channel is not full any more."""
    while True:
        try:
            return await layer.send(channel, message)
        except ChannelFull:
            await asyncio.sleep(0.02)
