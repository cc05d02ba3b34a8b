"""Groups that keep a history: each member gets each message once, at whatever process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from conformance.capabilities import Capability, needs
from conformance.promises import Beyond, checks
from support.histories import GROUP, HISTORY, follow, plain, send
from support.messages import numbered, take, take_many, within

if TYPE_CHECKING:
    from conformance.layer_case import LayerCase

pytestmark = [checks(Beyond.HISTORY), needs(Capability.HISTORY)]


def keeping(case: LayerCase) -> Any:
    """Return a new layer whose group keeps a history."""
    return case.layer(**HISTORY)


async def test_a_browser_resumes_at_another_process(case: LayerCase) -> None:
    """A channel with a position gets what it has missed before what is new, each once."""
    first, second, sender = (keeping(case) for _ in range(3))
    channel, _ = await follow(first)
    messages = numbered(8)
    await send(sender, messages[:2])
    [_, latest] = await take_many(first, channel, 2)
    await send(sender, messages[2:6])
    resumed, joined = await follow(second, since=latest["__asgi_position__"])
    assert joined.recovered
    await send(sender, messages[6:])
    missed = await take_many(second, resumed, 6)
    assert plain(missed) == messages[2:]
    # Another one that has missed less, at a process that follows the group already.
    third, joined = await follow(second, since=missed[3]["__asgi_position__"])
    assert joined.recovered
    assert plain(await take_many(second, third, 2)) == messages[6:]
    for name in (resumed, third):
        await case.nothing_else(second, name)


async def test_a_position_before_the_first_message(case: LayerCase) -> None:
    """A channel that joined when nothing had ever been sent resumes like all others."""
    layer, sender = keeping(case), keeping(case)
    _, joined = await follow(layer)
    assert joined.recovered
    await layer.close_pools()
    await send(sender, numbered(2))
    _, again = await follow(keeping(case), since=joined.position)
    assert again.recovered
    # It may end before it has received any of them.
    assert again.position == joined.position


@pytest.mark.parametrize("since", ["", "rubbish", "0-0.00000000", f"{2**64}-0.0123abcd", "é-1.x"])
async def test_an_unknown_position_is_not_recovered(case: LayerCase, since: str) -> None:
    """Browsers may send anything: nothing is replayed, and the caller is told."""
    layer = keeping(case)
    await send(layer, numbered(3))
    channel, joined = await follow(layer, since=since)
    assert not joined.recovered
    await case.nothing_else(layer, channel)
    # With `rewind`, it gets the latest instead.
    channel, joined = await follow(layer, since=since, rewind=2)
    assert not joined.recovered
    assert plain(await take_many(layer, channel, 2)) == numbered(3)[1:]


async def test_newcomers_rewind(case: LayerCase) -> None:
    """A newcomer gets the latest messages, at most as many as there are."""
    layer = keeping(case)
    early, _ = await follow(layer, rewind=5)
    await send(layer, numbered(3))
    late, joined = await follow(layer, rewind=5)
    assert joined.recovered
    assert plain(await take_many(layer, early, 3)) == numbered(3)
    assert plain(await take_many(layer, late, 3)) == numbered(3)
    two, _ = await follow(layer, rewind=2)
    assert plain(await take_many(layer, two, 2)) == numbered(3)[1:]
    for channel in (early, late, two):
        await case.nothing_else(layer, channel)


async def test_joining_again_repeats_nothing(case: LayerCase) -> None:
    """A second `group_add` of a member returns its place and changes nothing."""
    layer = keeping(case)
    channel, _ = await follow(layer)
    await send(layer, numbered(2))
    messages = await take_many(layer, channel, 2)
    first, latest = (message["__asgi_position__"] for message in messages)
    for options in ({}, {"since": first}, {"rewind": 2}):
        assert await within(layer.group_add(GROUP, channel, **options)) == (latest, True)
    await case.nothing_else(layer, channel)


async def test_messages_and_joins_at_once(case: LayerCase) -> None:
    """Channels that join amid a stream of messages get each message after their position once."""
    layer, sender = keeping(case), keeping(case)
    start = (await within(sender.group_history(GROUP))).position
    messages = numbered(90)
    sending = asyncio.create_task(send(sender, messages))
    channels = []
    while not sending.done():
        channel, joined = await follow(layer, since=start)
        assert joined.recovered
        channels.append(channel)
    await within(sending)
    assert len(channels) > 1
    for channel in channels:
        assert plain(await take_many(layer, channel, len(messages))) == messages
        await case.nothing_else(layer, channel)


async def test_excluded_channels_get_no_replay(case: LayerCase) -> None:
    """A message that leaves out a channel is not replayed to it either, and others get it."""
    layer = keeping(case)
    channel, joined = await follow(layer)
    await within(layer.group_send(GROUP, {"type": "mine"}, exclude=[channel]))
    await send(layer, numbered(1))
    assert plain([await take(layer, channel)]) == numbered(1)
    await within(layer.group_discard(GROUP, channel))
    await within(layer.group_add(GROUP, channel, since=joined.position))
    assert plain([await take(layer, channel)]) == numbered(1)
    await case.nothing_else(layer, channel)
    other, _ = await follow(layer, since=joined.position)
    assert plain(await take_many(layer, other, 2)) == [{"type": "mine"}, *numbered(1)]


async def test_a_process_without_the_option_understands_the_others(
    case: LayerCase, caplog: pytest.LogCaptureFixture
) -> None:
    """Rolling deployments: messages with a position reach processes that keep no history."""
    layer: Any = case.layer()
    sender = keeping(case)
    channel = await within(layer.new_channel())
    assert await within(layer.group_add(GROUP, channel)) is None
    await send(sender, numbered(2))
    assert plain(await take_many(layer, channel, 2)) == numbered(2)
    # And what it sends reaches the others, without a position.
    follower, _ = await follow(sender)
    await send(layer, numbered(1))
    assert await take(sender, follower) == numbered(1)[0]
    assert f"{GROUP} has no position: its sender keeps no history" in caplog.text


@needs(Capability.ENCRYPTION)
async def test_messages_that_cannot_be_read_are_left_out(
    case: LayerCase, caplog: pytest.LogCaptureFixture
) -> None:
    """A process with other keys spoils its own messages alone; members that miss one are told."""
    layer: Any = case.layer(**HISTORY, symmetric_encryption_keys=["ours"])
    stranger = case.layer(**HISTORY, symmetric_encryption_keys=["theirs"])
    channel, joined = await follow(layer)
    first, lost, second = numbered(3)
    for sender, message in ((layer, first), (stranger, lost), (layer, second)):
        await send(sender, [message])
    assert plain(await take_many(layer, channel, 1)) == [first]
    notice = await take(layer, channel)
    assert (notice["type"], notice["recovered"]) == ("chat.gap", False)
    assert plain(await take_many(layer, channel, 1)) == [second]
    for since in (None, joined.position):
        history = await within(layer.group_history(GROUP, since=since))
        assert plain(history.messages) == [first, second]
        assert history.recovered is (since is None)
    resumed, again = await follow(layer, since=joined.position)
    assert not again.recovered
    assert plain(await take_many(layer, resumed, 2)) == [first, second]
    assert f"Dropped a message of {GROUP} that can't be read" in caplog.text


async def test_group_history_for_views(case: LayerCase) -> None:
    """A view reads the latest messages, or those after a position, page by page."""
    layer = keeping(case)
    empty = await within(layer.group_history(GROUP))
    assert (empty.messages, empty.recovered) == ([], True)
    await send(layer, numbered(5))
    whole = await within(layer.group_history(GROUP))
    assert plain(whole.messages) == numbered(5)
    assert whole.position == whole.messages[-1]["__asgi_position__"]
    latest = await within(layer.group_history(GROUP, limit=2))
    assert (latest.messages, latest.position) == (whole.messages[3:], whole.position)
    page = await within(layer.group_history(GROUP, since=empty.position, limit=3))
    assert page.messages == whole.messages[:3]
    rest = await within(layer.group_history(GROUP, since=page.position))
    assert (rest.messages, rest.recovered) == (whole.messages[3:], True)
    unknown = await within(layer.group_history(GROUP, since="rubbish"))
    assert (unknown.messages, unknown.recovered) == ([], False)


async def test_groups_without_a_history_refuse_positions(case: LayerCase) -> None:
    """Arguments that need a history are refused at once, with what to write instead."""
    layer = keeping(case)
    channel = await within(layer.new_channel())
    assert "history" in layer.extensions
    assert "history" not in case.layer().extensions
    for call in (
        layer.group_add("room", channel, since="1-1.0123abcd"),
        layer.group_add("room", channel, rewind=1),
        layer.group_history("room"),
    ):
        with pytest.raises(ValueError, match="the group 'room' keeps no history: add its name"):
            await within(call)
    with pytest.raises(TypeError, match="since must be a position as a str"):
        await within(layer.group_add(GROUP, channel, since=5))
    with pytest.raises(ValueError, match="rewind must be an integer from 1"):
        await within(layer.group_add(GROUP, channel, rewind=0))


async def test_passing_an_event_on(case: LayerCase) -> None:
    """An event of a history can be sent on, to a channel and to groups, without its position."""
    layer = keeping(case)
    reader, _ = await follow(layer)
    plain = await within(layer.new_channel())
    await within(layer.group_add("room", plain))
    await within(layer.group_send(GROUP, {"type": "x"}))
    event = await within(layer.receive(reader))
    sent = dict(event)
    for call, to, receiver in (
        (layer.send, plain, plain),
        (layer.group_send, "room", plain),
        (layer.group_send, GROUP, reader),
    ):
        await within(call(to, event))
        received = await within(layer.receive(receiver))
        if receiver is reader:
            assert received.pop("__asgi_position__") != sent["__asgi_position__"]
        assert received == {"type": "x"}
    assert event == sent
