"""Groups: each member gets each message once, from joining until leaving."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from conformance.capabilities import Capability, needs
from conformance.promises import Beyond, Extensions, Required, checks
from support.messages import joined, numbered, take, take_many, within

if TYPE_CHECKING:
    from conformance.layer_case import ChannelLayer, LayerCase

HELLO = {"type": "test.hello"}


@checks(Extensions.GROUP_SEND)
async def test_group_message_reaches_every_member(case: LayerCase, layer: ChannelLayer) -> None:
    """All members get a copy; a channel that did not join gets none."""
    members = [await joined(layer, "room") for _ in range(5)]
    outsider = await layer.new_channel()
    await within(layer.group_send("room", HELLO))
    for member in members:
        assert await take(layer, member) == HELLO
        await case.nothing_else(layer, member)
    await case.nothing_else(layer, outsider)


@checks(Required.FIRST_IN_FIRST_OUT)
async def test_group_messages_arrive_in_order(case: LayerCase) -> None:
    """A member gets the messages of one sender in the order of sending."""
    layer = case.layer(capacity=200)
    members = [await joined(layer, "room") for _ in range(3)]
    messages = numbered(50)
    for message in messages:
        await within(layer.group_send("room", message))
    for member in members:
        assert await take_many(layer, member, 50) == messages


@checks(Required.FIRST_IN_FIRST_OUT)
@needs(Capability.ORDER_BETWEEN_DIRECT_AND_GROUP)
async def test_direct_and_group_messages_arrive_in_order(case: LayerCase) -> None:
    """A channel's direct and group messages keep the order in which one sender sent them."""
    layer = case.layer(capacity=200)
    channel = await joined(layer, "room")
    messages = numbered(40)
    for direct, grouped in zip(messages[::2], messages[1::2], strict=True):
        await within(layer.send(channel, direct))
        await within(layer.group_send("room", grouped))
    assert await take_many(layer, channel, 40) == messages


@checks(Beyond.LEAVING)
@needs(Capability.LAST_WORDS)
async def test_what_was_sent_before_leaving_still_arrives(layer: ChannelLayer) -> None:
    """A consumer that says goodbye to its group and then leaves it gets its own goodbye."""
    channel = await joined(layer, "room")
    # More than a layer reads at once.
    words = [{**message, "text": "x" * 200_000} for message in numbered(15)]
    for message in [*words, {"type": "goodbye"}]:
        await within(layer.group_send("room", message))
    await within(layer.group_discard("room", channel))
    assert await take_many(layer, channel, 16) == [*words, {"type": "goodbye"}]


@checks(Beyond.JOINING)
@needs(Capability.NOTHING_BEFORE_JOINING)
async def test_joining_member_gets_nothing_older(case: LayerCase, layer: ChannelLayer) -> None:
    """Messages sent to the group before `group_add` do not reach the new member."""
    first, second = await joined(layer, "room"), await layer.new_channel()
    await within(layer.group_send("room", HELLO))
    await within(layer.group_add("room", second))
    assert await take(layer, first) == HELLO
    await case.nothing_else(layer, second)


@checks(Extensions.GROUP_DISCARD)
async def test_leaving_ends_what_comes_later(case: LayerCase, layer: ChannelLayer) -> None:
    """Between leaving and joining again a channel misses what the group gets."""
    stays, returns = await joined(layer, "room"), await joined(layer, "room")
    await within(layer.group_discard("room", returns))
    await within(layer.group_send("room", {"type": "missed"}))
    assert await take(layer, stays) == {"type": "missed"}
    await within(layer.group_add("room", returns))
    await within(layer.group_send("room", HELLO))
    for channel in (stays, returns):
        assert await take(layer, channel) == HELLO
        await case.nothing_else(layer, channel)


@checks(Extensions.GROUP_ADD)
async def test_joining_twice_gives_one_copy(case: LayerCase, layer: ChannelLayer) -> None:
    """`group_add` of a member is no error, adds nothing, and one `group_discard` undoes it."""
    channel = await joined(layer, "room")
    await within(layer.group_add("room", channel))
    await within(layer.group_send("room", HELLO))
    assert await take(layer, channel) == HELLO
    await case.nothing_else(layer, channel)
    await within(layer.group_discard("room", channel))
    await within(layer.group_send("room", {"type": "unheard"}))
    await case.nothing_else(layer, channel)


@checks(Extensions.GROUP_DISCARD)
async def test_leaving_without_having_joined(case: LayerCase, layer: ChannelLayer) -> None:
    """`group_discard` of a channel that is no member does nothing, in any group."""
    channel, member = await layer.new_channel(), await joined(layer, "room")
    await within(layer.group_discard("room", channel))
    await within(layer.group_discard("empty.group", channel))
    await within(layer.group_send("room", HELLO))
    assert await take(layer, member) == HELLO
    await case.nothing_else(layer, channel)


@checks(Extensions.GROUP_ADD)
async def test_channel_in_several_groups(case: LayerCase, layer: ChannelLayer) -> None:
    """A channel may be in many groups, and leaves each by itself."""
    groups = [f"room-{number}" for number in range(5)]
    channel = await joined(layer, *groups)
    await within(layer.group_discard("room-2", channel))
    for group in groups:
        await within(layer.group_send(group, {"type": "test.message", "group": group}))
    received = await take_many(layer, channel, 4)
    assert sorted(message["group"] for message in received) == [*groups[:2], *groups[3:]]
    await case.nothing_else(layer, channel)


@checks(Extensions.GROUP_SEND)
async def test_groups_with_similar_names(case: LayerCase, layer: ChannelLayer) -> None:
    """A group is known by its whole name, in which upper and lower case differ."""
    names = ("room", "Room", "room.1", "room-1", "ro")
    members = {name: await joined(layer, name) for name in names}
    for name in names:
        await within(layer.group_send(name, {"type": "test.message", "group": name}))
    for name, member in members.items():
        assert await take(layer, member) == {"type": "test.message", "group": name}
        await case.nothing_else(layer, member)


@checks(Extensions.GROUP_SEND)
async def test_channels_of_any_prefix_in_one_group(layer: ChannelLayer) -> None:
    """Channels made with different prefixes are members alike."""
    options: tuple[dict[str, str], ...] = ({"prefix": "chat"}, {"prefix": "feed"}, {})
    members = [await joined(layer, "room", **given) for given in options]
    await within(layer.group_send("room", HELLO))
    assert [await take(layer, member) for member in members] == [HELLO] * 3


@checks(Extensions.GROUP_ADD)
@needs(Capability.GENERAL_MEMBERS, Capability.QUEUE)
async def test_general_channel_as_member(case: LayerCase, layer: ChannelLayer) -> None:
    """A general channel gets group messages like any member, once, until it leaves."""
    own = await joined(layer, "room")
    await within(layer.group_add("room", "jobs"))
    await within(layer.group_send("room", HELLO))
    assert await take(layer, "jobs") == HELLO
    assert await take(layer, own) == HELLO
    await within(layer.group_discard("room", "jobs"))
    await within(layer.group_send("room", HELLO))
    assert await take(layer, own) == HELLO
    await case.nothing_else(layer, "jobs")


@checks(Extensions.GROUP_SEND)
async def test_large_group(layer: ChannelLayer) -> None:
    """A thousand members of one process each get their copy."""
    members = [await layer.new_channel() for _ in range(1000)]
    await within(asyncio.gather(*(layer.group_add("room", member) for member in members)))
    await within(layer.group_send("room", HELLO))
    received = await within(asyncio.gather(*(layer.receive(member) for member in members)))
    assert received == [HELLO] * 1000


@checks(Extensions.GROUP_ADD)
async def test_last_member_leaves_as_another_joins(case: LayerCase, layer: ChannelLayer) -> None:
    """A group that its last member leaves as another joins has the new one, which may come back."""
    channels = [await layer.new_channel() for _ in range(2)]
    for number in range(100):
        leaves, joins = channels[number % 2], channels[(number + 1) % 2]
        changes = (layer.group_discard("room", leaves), layer.group_add("room", joins))
        await within(asyncio.gather(*changes))
        await within(layer.group_send("room", {"type": "hello", "number": number}))
        assert await take(layer, joins) == {"type": "hello", "number": number}
    await case.nothing_else(layer, channels[1])


@checks(Extensions.GROUP_SEND)
async def test_consumers_come_and_go_while_messages_flow(layer: ChannelLayer) -> None:
    """Joining and leaving of others disturbs no member: it gets every message, in order."""
    steady = await joined(layer, "room")

    async def come_and_go() -> None:
        for _ in range(10):
            passing = await joined(layer, "room")
            await within(layer.group_discard("room", passing))

    async def send_all() -> None:
        for message in numbered(50):
            await within(layer.group_send("room", message))

    received, *_ = await asyncio.gather(
        take_many(layer, steady, 50), send_all(), *(come_and_go() for _ in range(5))
    )
    assert received == numbered(50)
