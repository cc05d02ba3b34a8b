"""Messages: what may be in them arrives unchanged, and belongs to its receiver alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from channels.exceptions import ChannelFull, MessageTooLarge

from conformance.capabilities import Capability, needs
from conformance.promises import Beyond, Required, checks
from support.messages import joined, take, take_many, within

if TYPE_CHECKING:
    from conformance.layer_case import ChannelLayer, LayerCase

PAYLOADS = {
    "none": None,
    "booleans": [True, False],
    "small integers": [0, 1, -1, 127, 128, -32, -33, 255, 256],
    "wide integers": [2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63)],
    "floats": [0.0, -0.5, 1e300, 5e-324, 0.1],
    "text": ["", "plain", "Grüße 👋🏽 日本語 \u0000 \u2028", "x" * 70_000],
    "lists": [[], [1, [2, [3, []]]], list(range(20)), [None] * 70_000],
    "dicts": [{}, {"a": {"b": {"c": {}}}}, {str(n): n for n in range(20)}, {"": "empty key"}],
    "mixed": {"users": [{"name": "Ada", "tags": ["x"], "age": 36, "score": 1.5, "boss": None}]},
}
BYTES = {
    "bytes": [b"", b"\x00\xff\xc1", bytes(range(256)), b"x" * 70_000],
    "bytes beside text": {"a": b"abc", "b": "abc"},
}
EXTENSIONS = [msgpack.ExtType(5, b"data"), msgpack.Timestamp(1_700_000_000, 5)]
UNSENDABLE = {"object": object(), "set": {1, 2}, "function": print, "complex": 1j, "class": int}


@checks(Required.MESSAGE_TYPES)
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
async def test_payload_arrives_unchanged(layer: ChannelLayer, payload: object) -> None:
    """Every type that a message may hold comes back with its value and its type."""
    await check_round_trip(layer, payload)


@checks(Required.MESSAGE_TYPES)
@needs(Capability.BYTES)
@pytest.mark.parametrize("payload", BYTES.values(), ids=BYTES)
async def test_binary_payload_arrives_unchanged(layer: ChannelLayer, payload: object) -> None:
    """Byte strings come back too, and do not become text."""
    await check_round_trip(layer, payload)


@checks(Beyond.MORE_TYPES)
async def test_unsigned_integer_arrives_unchanged(layer: ChannelLayer) -> None:
    """An integer may have 64 bits without a sign."""
    await check_round_trip(layer, 2**64 - 1)


@checks(Beyond.MORE_TYPES)
@needs(Capability.BYTES)
async def test_msgpack_types_arrive_unchanged(layer: ChannelLayer) -> None:
    """Msgpack's own types come back."""
    await check_round_trip(layer, EXTENSIONS)


@checks(Required.MESSAGE_TYPES)
@needs(Capability.SERIALIZED)
async def test_tuple_arrives_as_list(layer: ChannelLayer) -> None:
    """A tuple may be sent, and arrives as a list."""
    channel = await layer.new_channel()
    await within(layer.send(channel, {"type": "x", "point": (1, (2, 3))}))
    assert await take(layer, channel) == {"type": "x", "point": [1, [2, 3]]}


@checks(Required.MESSAGE_TYPES)
async def test_empty_message_arrives(layer: ChannelLayer) -> None:
    """A message needs no key, not even a type."""
    channel = await layer.new_channel()
    await within(layer.send(channel, {}))
    assert await take(layer, channel) == {}


@checks(Required.ONCE)
async def test_equal_messages_all_arrive(case: LayerCase, layer: ChannelLayer) -> None:
    """The same message sent ten times arrives ten times."""
    channel = await layer.new_channel()
    for _ in range(10):
        await within(layer.send(channel, {"type": "same"}))
    assert await take_many(layer, channel, 10) == [{"type": "same"}] * 10
    await case.nothing_else(layer, channel)


@checks(Required.MEGABYTE)
async def test_message_of_a_megabyte(layer: ChannelLayer) -> None:
    """Messages of 1 MB, measured as JSON, must work, direct and to a group."""
    await check_round_trip(layer, "x" * 999_900)


@checks(Beyond.OWN_COPY)
async def test_message_stays_its_senders(layer: ChannelLayer) -> None:
    """A layer adds nothing to its caller's dict, and later changes to that reach no receiver."""
    channel = await joined(layer, "room")
    for send, target in ((layer.send, channel), (layer.group_send, "room")):
        message: dict[str, Any] = {"type": "x", "nested": {"a": [1]}}
        await within(send(target, message))
        assert message == {"type": "x", "nested": {"a": [1]}}
        message["nested"]["a"].append("changed")
        message["more"] = True
        assert await take(layer, channel) == {"type": "x", "nested": {"a": [1]}}


@checks(Beyond.OWN_COPY)
@pytest.mark.parametrize("nested", [True, False])
async def test_members_get_objects_of_their_own(layer: ChannelLayer, *, nested: bool) -> None:
    """A member that changes its copy of a group message changes no other copy."""
    members = [await joined(layer, "room") for _ in range(3)]
    await within(layer.group_send("room", {"type": "x", "parts": [{"a": 1}] if nested else "flat"}))
    for member in members:
        received = await take(layer, member)
        assert received == {"type": "x", "parts": [{"a": 1}] if nested else "flat"}
        if nested:
            received["parts"][0]["a"] = "changed"
        received["parts"] = received["more"] = "changed"


@checks(Beyond.REFUSALS)
@needs(Capability.CHECKED_MESSAGES)
@pytest.mark.parametrize("message", [None, "text", b"bytes", 5, ["a"], [("type", "x")]], ids=repr)
async def test_message_must_be_a_dict(layer: ChannelLayer, message: Any) -> None:
    """Anything but a dict is a TypeError, and an AssertionError for code that catches that."""
    channel = await layer.new_channel()
    for send, target in ((layer.send, channel), (layer.group_send, "room")):
        with pytest.raises(TypeError, match="dict") as caught:
            await within(send(target, message))
        assert isinstance(caught.value, AssertionError)


@checks(Beyond.REFUSALS)
@needs(Capability.CHECKED_MESSAGES)
@pytest.mark.parametrize("value", UNSENDABLE.values(), ids=UNSENDABLE)
async def test_unsendable_value_is_refused_by_key(
    case: LayerCase, layer: ChannelLayer, value: object
) -> None:
    """A value that cannot be written is an error at the sender that names its key."""
    channel = await joined(layer, "room")
    for message in ({"type": "x", "culprit": value}, {"type": "x", "culprit": {"deep": [value]}}):
        with pytest.raises(TypeError, match="culprit"):
            await within(layer.send(channel, message))
        for group in ("room", "empty.group"):
            with pytest.raises(TypeError, match="culprit"):
                await within(layer.group_send(group, message))
    await case.nothing_else(layer, channel)


@checks(Beyond.REFUSALS)
@needs(Capability.RESERVED_KEYS)
async def test_reserved_key_is_refused(case: LayerCase, layer: ChannelLayer) -> None:
    """A message cannot hold the key by which a layer tells its channels apart."""
    channel = await joined(layer, "room")
    message = {"type": "x", "__asgi_channel__": channel}
    for send, target in ((layer.send, channel), (layer.group_send, "room")):
        with pytest.raises(ValueError, match="__asgi_channel__"):
            await within(send(target, message))
    await case.nothing_else(layer, channel)


@checks(Required.ATTRIBUTES)
@needs(Capability.EXCEPTIONS)
async def test_exceptions_are_attributes(layer: ChannelLayer) -> None:
    """A layer offers the exceptions it raises, and they are Channels' own."""
    offered: Any = layer
    assert offered.ChannelFull is ChannelFull
    assert offered.MessageTooLarge is MessageTooLarge


async def check_round_trip(layer: ChannelLayer, payload: object) -> None:
    """Send a payload to a channel and to a group; compare values and types of what arrives."""
    channel = await layer.new_channel()
    message = {"type": "test.message", "payload": payload}
    await within(layer.group_add("room", channel))
    await within(layer.send(channel, message))
    await within(layer.group_send("room", message))
    for received in await take_many(layer, channel, 2):
        assert received == message
        assert types_in(received) == types_in(message)


def types_in(value: object) -> object:
    """Return a value's types in its own shape, since ``1 == True == 1.0``."""
    if isinstance(value, dict):
        return {key: types_in(item) for key, item in value.items()}
    if isinstance(value, list):
        return [types_in(item) for item in value]
    return type(value)
