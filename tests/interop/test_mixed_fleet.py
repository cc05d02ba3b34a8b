"""A fleet that runs both `channels_redis` 4 and this: every message arrives, once."""

from __future__ import annotations

from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pytest

from support.fleet import received

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.fleet import Fleet, Process

COUNT = 20

pytestmark = pytest.mark.asyncio(loop_scope="module")

queue_alone = pytest.mark.parametrize("kind", ["queue"], indirect=True, scope="module")


def numbered(sender: str, count: int = COUNT) -> list[dict[str, Any]]:
    """Return distinct messages that name their sender."""
    return [{"type": "numbered", "sender": sender, "number": number} for number in range(count)]


async def test_direct_messages(fleet: Fleet) -> None:
    """A message to another process's channel arrives once, in order, in both directions."""
    for sender, receiver in ((fleet.ours, fleet.theirs), (fleet.theirs, fleet.ours)):
        channels = [await receiver.channel() for _ in range(4)]
        for channel in channels:
            await sender.call("send_all", "send", channel, numbered(channel))
        await receiver.got({channel: numbered(channel) for channel in channels})


async def test_groups(fleet: Fleet) -> None:
    """Members in both processes get each message to the group once, from either sender."""
    members: dict[Process, list[str]] = {}
    for process in (fleet.ours, fleet.theirs):
        members[process] = [await process.channel() for _ in range(3)]
        for channel in members[process]:
            await process.call("group_add", "everyone", channel)
    sent: list[dict[str, Any]] = []
    for name, process in (("ours", fleet.ours), ("theirs", fleet.theirs)):
        messages = numbered(name)
        await process.call("send_all", "group_send", "everyone", messages)
        sent += messages
        for receiver, channels in members.items():
            await receiver.got(dict.fromkeys(channels, sent))


async def test_leaving_a_group(fleet: Fleet) -> None:
    """A channel that has left gets no more messages, in all combinations of processes."""
    for process in (fleet.ours, fleet.theirs):
        leaver, stayer = await process.channel(), await process.channel()
        for channel in (leaver, stayer):
            await process.call("group_add", "room", channel)
        await process.call("group_discard", "room", leaver)
        for sender in (fleet.ours, fleet.theirs):
            await sender.call("group_send", "room", {"type": "to.the.group"})
        # With two hosts, theirs loses messages to channels of theirs.
        await fleet.ours.call("send", leaver, {"type": "to.the.leaver"})
        await process.got(
            {stayer: [{"type": "to.the.group"}] * 2, leaver: [{"type": "to.the.leaver"}]}
        )
        await process.call("group_discard", "room", stayer)


# How a message is written decides nothing about the 5 s that this takes.
@pytest.mark.parametrize("settings", ["plain", "two-hosts"], indirect=True, scope="module")
@queue_alone
async def test_general_channels(fleet: Fleet) -> None:
    """A message to a general channel reaches a worker once: of the other kind, or one of both."""
    ours, theirs = fleet.ours, fleet.theirs
    # A channel, its receiver, and its sender.
    work: list[tuple[str, Sequence[Process], Sequence[Process]]] = [
        ("to.theirs", (theirs,), (ours,)),
        ("to.ours", (ours,), (theirs,)),
    ]
    if fleet.hosts == 1:
        # With more, a worker of theirs waits at one host while its messages lie on another, until
        # more come. If it shares the work, it may wait endlessly.
        work.append(("to.both", (ours, theirs), (ours, theirs)))
    for name, receivers, _ in work:
        for receiver in receivers:
            await receiver.call("listen", name)
    for name, _, senders in work:
        messages = numbered(name, 2 * COUNT)
        for position, sender in enumerate(senders):
            await sender.call("send_all", "send", name, messages[position :: len(senders)])
    for name, receivers, _ in work:
        came = chain(*await received(name, 2 * COUNT, *receivers))
        assert sorted(came, key=itemgetter("number")) == numbered(name, 2 * COUNT)


@queue_alone
async def test_members_of_another_process(fleet: Fleet) -> None:
    """Each may add the other's channels to groups, and remove them again."""
    for owner, other in ((fleet.ours, fleet.theirs), (fleet.theirs, fleet.ours)):
        channel = await owner.channel()
        await other.call("group_add", "guests", channel)
        await other.call("group_send", "guests", {"type": "member"})
        await owner.got({channel: [{"type": "member"}]})
        await other.call("group_discard", "guests", channel)
        await other.call("group_send", "guests", {"type": "no.member"})
        await other.call("send", channel, {"type": "last"})
        await owner.got({channel: [{"type": "member"}, {"type": "last"}]})


@queue_alone
async def test_member_that_the_other_process_cannot_remove(fleet: Fleet) -> None:
    """A `channels_redis` process that discards a channel of ours changes nothing."""
    channel = await fleet.ours.channel()
    await fleet.ours.call("group_add", "stays", channel)
    await fleet.theirs.call("group_discard", "stays", channel)
    for sender in (fleet.ours, fleet.theirs):
        await sender.call("group_send", "stays", {"type": "to.the.group"})
    await fleet.ours.call("send", channel, {"type": "last"})
    await fleet.ours.got({channel: [{"type": "to.the.group"}] * 2 + [{"type": "last"}]})
