"""All members of a group but some get a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conformance.capabilities import Capability, needs
from conformance.promises import Beyond, checks
from support.messages import joined, numbered, take, take_many, within

if TYPE_CHECKING:
    from conformance.layer_case import LayerCase

pytestmark = [checks(Beyond.EXCLUDE), needs(Capability.EXCLUDE)]


async def test_excluded_channels_get_nothing(case: LayerCase) -> None:
    """Neither the sender nor others that are named, in whichever process they are."""
    layer, other = case.layer(), case.layer()
    readers = [layer, layer, other, other]
    members = [await joined(reader, "room") for reader in readers]
    for message in numbered(3):
        await within(layer.group_send("room", message, exclude=[members[0], members[2]]))
        await within(layer.group_send("room", {"type": "to.all"}))
    for reader, member in ((readers[at], members[at]) for at in (0, 2)):
        assert await take_many(reader, member, 3) == [{"type": "to.all"}] * 3
        await case.nothing_else(reader, member)
    for reader, member in ((readers[at], members[at]) for at in (1, 3)):
        received = await take_many(reader, member, 6)
        assert received[::2] == numbered(3)
        assert received[1::2] == [{"type": "to.all"}] * 3


@pytest.mark.parametrize("items", [1, [1, 2]], ids=["flat", "nested"])
async def test_message_is_as_it_was_sent(case: LayerCase, items: object) -> None:
    """A received message doesn't name those that are left out; the sender's stays unchanged.

    Their names may come from a generator, also from one that yields none.
    """
    layer = case.layer()
    out, *members = [await joined(layer, "room") for _ in range(4)]
    message = {"type": "test.message", "items": items}
    await within(layer.group_send("room", message, exclude=(name for name in [out])))
    assert message == {"type": "test.message", "items": items}
    await within(layer.group_send("room", message, exclude=(name for name in members[:0])))
    assert await take(layer, out) == message
    for member in members:
        assert await take_many(layer, member, 2) == [message, message]


@needs(Capability.GENERAL_MEMBERS, Capability.QUEUE)
async def test_general_channels_may_be_excluded(case: LayerCase) -> None:
    """As any other member."""
    layer = case.layer()
    for channel in ("jobs", "mails"):
        await within(layer.group_add("room", channel))
    for _ in range(2):
        await within(layer.group_send("room", {"type": "hello"}, exclude=["jobs"]))
        assert await take(layer, "mails") == {"type": "hello"}
    await within(layer.group_send("room", {"type": "hello"}, exclude=["jobs", "mails"]))
    for channel in ("jobs", "mails"):
        await case.nothing_else(layer, channel)


@pytest.mark.parametrize(
    ("exclude", "error", "text"),
    [
        ("specific.chat", TypeError, "exclude must be a list of channel names"),
        (7, TypeError, "exclude must be a list of channel names"),
        ([7], TypeError, "(?i)channel name"),
        (["a name with blanks"], TypeError, "(?i)channel name"),
        ([f"channel-{n}" for n in range(17)], ValueError, "at most 16 channels, not 17"),
    ],
    ids=["str", "int", "list of int", "bad name", "too many"],
)
async def test_what_is_no_list_of_channels_is_refused(
    case: LayerCase, exclude: Any, error: type[Exception], text: str
) -> None:
    """With an error that says what to write; and none is sent."""
    layer = case.layer()
    member = await joined(layer, "room")
    with pytest.raises(error, match=text):
        await within(layer.group_send("room", {"type": "hello"}, exclude=exclude))
    await case.nothing_else(layer, member)


@needs(Capability.RESERVED_KEYS)
async def test_messages_cannot_exclude(case: LayerCase) -> None:
    """The key that stands beside a message is reserved, for direct messages too."""
    layer = case.layer()
    channel = await layer.new_channel()
    message = {"type": "hello", "__asgi_exclude__": [channel]}
    with pytest.raises(ValueError, match="reserved"):
        await within(layer.send(channel, message))
    with pytest.raises(ValueError, match="reserved"):
        await within(layer.group_send("room", message))
