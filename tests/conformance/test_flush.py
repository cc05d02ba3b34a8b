"""Flush: afterwards the layer is as if it were new."""

from __future__ import annotations

from conformance.capabilities import Capability, needs
from conformance.layer_case import ChannelLayer, LayerCase, waiting_receiver
from conformance.promises import Beyond, Extensions, checks
from support.messages import joined, numbered, take, within

MESSAGE = {"type": "test.message"}


@checks(Extensions.FLUSH)
@needs(Capability.QUEUE)
async def test_flush_removes_messages(case: LayerCase, layer: ChannelLayer) -> None:
    """No message sent before a flush is received after it, from any kind of channel."""
    own = await layer.new_channel()
    for message in numbered(5):
        await within(layer.send("jobs", message))
        await within(layer.send(own, message))
    await within(layer.flush())
    await case.nothing_else(layer, "jobs")
    await case.nothing_else(layer, own)


@checks(Extensions.FLUSH)
async def test_flush_removes_messages_that_reached_the_process(
    case: LayerCase, layer: ChannelLayer
) -> None:
    """Messages that the process holds for an unread channel are deleted as well."""
    unread, read = await joined(layer, "room"), await joined(layer, "room")
    await within(layer.group_send("room", {"type": "stale"}))
    assert await take(layer, read) == {"type": "stale"}
    await within(layer.flush())
    await case.nothing_else(layer, unread)


@checks(Extensions.FLUSH)
async def test_flush_empties_groups(case: LayerCase, layer: ChannelLayer) -> None:
    """After a flush no channel is a member, and each may join again."""
    channel = await joined(layer, "room")
    await within(layer.flush())
    await within(layer.group_send("room", {"type": "unheard"}))
    await case.nothing_else(layer, channel)
    await within(layer.group_add("room", channel))
    await within(layer.group_send("room", MESSAGE))
    assert await take(layer, channel) == MESSAGE


@checks(Extensions.FLUSH)
async def test_layer_works_after_a_flush(layer: ChannelLayer) -> None:
    """New channels and groups work, also when there was nothing to flush."""
    for _ in range(2):
        await within(layer.flush())
        channel = await layer.new_channel()
        await within(layer.group_add("room", channel))
        await within(layer.group_send("room", MESSAGE))
        assert await take(layer, channel) == MESSAGE


@checks(Extensions.FLUSH)
@needs(Capability.PROCESSES, Capability.QUEUE)
async def test_flush_reaches_what_another_process_sent(case: LayerCase) -> None:
    """One process can flush what others left on the servers."""
    ours, theirs = case.layer(), case.layer()
    channel = await theirs.new_channel()
    await within(theirs.send(channel, {"type": "stale"}))
    await within(theirs.send("jobs", {"type": "stale"}))
    await within(ours.flush())
    await case.nothing_else(theirs, "jobs")
    await case.nothing_else(theirs, channel)


@checks(Beyond.PREFIXES)
@needs(Capability.PROCESSES, Capability.OTHER_PREFIXES)
async def test_flush_leaves_other_prefixes_alone(case: LayerCase) -> None:
    """Sites that share a server do not flush each other."""
    prefix = case.prefix
    ours, theirs = case.layer(), case.layer(prefix=f"other-{prefix}")
    channel = await joined(theirs, "room")
    await within(theirs.send(channel, MESSAGE))
    await within(ours.flush())
    assert await take(theirs, channel) == MESSAGE
    await within(theirs.group_send("room", MESSAGE))
    assert await take(theirs, channel) == MESSAGE


@checks(Extensions.FLUSH)
@needs(Capability.MANY_RECEIVERS)
async def test_flush_does_not_end_a_waiting_receiver(layer: ChannelLayer) -> None:
    """A consumer that waits during a flush gets what is sent after it."""
    channel = await layer.new_channel()
    receiver = await waiting_receiver(layer, channel)
    await within(layer.flush())
    await within(layer.send(channel, {"type": "later"}))
    assert await receiver == {"type": "later"}
