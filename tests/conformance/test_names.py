"""Names: which ones are good, and what is said about the others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from conformance.capabilities import Capability, needs
from conformance.promises import Beyond, Required, checks
from support.messages import joined, take, within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conformance.layer_case import ChannelLayer, LayerCase

BAD_NAMES = [
    "", " ", "two words", "slash/es", "colon:s", "curly{s}", "star*", "Grüße",
    "x" * 100, None, 5, b"bytes", ["a"],
]  # fmt: skip
BAD_CHANNELS = [*BAD_NAMES, "!", "!local", "two!marks!", "specific.x!:g:room"]
BAD_GROUPS = [*BAD_NAMES, "mark!", "specific.x!y"]
GOOD_NAMES = ["a", "0", "A.b-C_9", "-", "...", "x" * 99]
MESSAGE = {"type": "test.message"}

METHODS = {"groups": ("group_add", "group_discard", "group_send"), "flush": ("flush",)}

ON_CHANNEL: dict[str, Callable[[ChannelLayer, str], Awaitable[object]]] = {
    "send": lambda layer, name: layer.send(name, MESSAGE),
    "receive": lambda layer, name: layer.receive(name),
    "group_add": lambda layer, name: layer.group_add("room", name),
    "group_discard": lambda layer, name: layer.group_discard("room", name),
}
ON_GROUP: dict[str, Callable[[ChannelLayer, str, str], Awaitable[object]]] = {
    "group_add": lambda layer, name, channel: layer.group_add(name, channel),
    "group_discard": lambda layer, name, channel: layer.group_discard(name, channel),
    "group_send": lambda layer, name, _channel: layer.group_send(name, MESSAGE),
}


@checks(Beyond.REFUSALS)
@pytest.mark.parametrize("method", ON_CHANNEL)
async def test_bad_channel_name(layer: ChannelLayer, method: str) -> None:
    """A wrong channel name is a TypeError that says what a name may hold."""
    for name in BAD_CHANNELS:
        with pytest.raises(TypeError, match=r"(?s)[Cc]hannel name.*hyphens"):
            await within(ON_CHANNEL[method](layer, as_name(name)))


@checks(Beyond.REFUSALS)
@pytest.mark.parametrize("method", ON_GROUP)
async def test_bad_group_name(layer: ChannelLayer, method: str) -> None:
    """A wrong group name is a TypeError that says what a name may hold."""
    channel = await layer.new_channel()
    for name in BAD_GROUPS:
        with pytest.raises(TypeError, match=r"(?s)[Gg]roup name.*hyphens"):
            await within(ON_GROUP[method](layer, as_name(name), channel))


@checks(Beyond.REFUSALS)
@needs(Capability.EXACT_NAMES)
@pytest.mark.parametrize("method", ON_GROUP)
async def test_newline_ends_no_name(layer: ChannelLayer, method: str) -> None:
    """A browser may put one into the name of a room: `/ws/room%0A/`, for a route `<str:room>`.

    Channels' own patterns end in `$`, which matches before a newline as well.
    """
    channel = await joined(layer, "room")
    with pytest.raises(TypeError, match=r"(?s)[Gg]roup name.*hyphens"):
        await within(ON_GROUP[method](layer, "room\n", channel))
    for name in ("room\n", "room.x!y\n", "room!\n"):
        with pytest.raises(TypeError, match=r"(?s)[Cc]hannel name.*hyphens"):
            await within(layer.send(name, MESSAGE))
    await within(layer.group_send("room", MESSAGE))
    assert await take(layer, channel) == MESSAGE


@checks(Required.NAMES)
@needs(Capability.QUEUE)
@pytest.mark.parametrize("name", GOOD_NAMES, ids=lambda name: name[:8])
async def test_good_channel_name(layer: ChannelLayer, name: str) -> None:
    """Letters, digits, dots, hyphens and underscores, up to 99 of them, make a channel."""
    await within(layer.send(name, MESSAGE))
    assert await take(layer, name) == MESSAGE


@checks(Required.NAMES)
@pytest.mark.parametrize("name", GOOD_NAMES, ids=lambda name: name[:8])
async def test_good_group_name(layer: ChannelLayer, name: str) -> None:
    """Letters, digits, dots, hyphens and underscores, up to 99 of them, make a group."""
    channel = await layer.new_channel()
    await within(layer.group_add(name, channel))
    await within(layer.group_send(name, MESSAGE))
    assert await take(layer, channel) == MESSAGE


@checks(Required.NEW_CHANNEL)
async def test_new_channels_are_unique(case: LayerCase) -> None:
    """No two calls give one name, in one process or in several."""
    layers = [case.layer() for _ in range(3)]
    names = {await within(layer.new_channel()) for layer in layers for _ in range(100)}
    assert len(names) == 300


@checks(Required.NEW_CHANNEL)
async def test_new_channel_has_its_prefix(layer: ChannelLayer) -> None:
    """The prefix that a caller gives is in the name, "specific" by default; the name is good."""
    assert "feed" in await within(layer.new_channel(prefix="feed"))
    assert "specific" in await within(layer.new_channel())
    for prefix in ("chat", "a.b-c_d", "x" * 20):
        channel = await within(layer.new_channel(prefix))
        assert prefix in channel
        await within(layer.send(channel, MESSAGE))
        assert await take(layer, channel) == MESSAGE


@checks(Beyond.REFUSALS)
@needs(Capability.CHECKED_MESSAGES)
async def test_bad_prefix_of_a_channel(layer: ChannelLayer) -> None:
    """A prefix of which no valid name can be made is refused when the channel is made."""
    for bad in ("two words", "mark!", "x" * 99, "Grüße", None, 5):
        with pytest.raises(TypeError, match=r"hyphens|prefix"):
            await within(layer.new_channel(as_name(bad)))


@checks(Beyond.REFUSALS)
@needs(Capability.CHECKED_READER)
async def test_channel_of_another_process_cannot_be_received(case: LayerCase) -> None:
    """Receiving from another process's channel is an error that names it, and takes nothing.

    An AssertionError among others, for code that catches what channels_redis raises.
    """
    ours, theirs = case.layer(), case.layer()
    channel = await theirs.new_channel()
    with pytest.raises(AssertionError, match=re.escape(channel)):
        await within(ours.receive(channel))
    await within(ours.send(channel, MESSAGE))
    assert await take(theirs, channel) == MESSAGE


@checks(Beyond.EXTENSIONS)
async def test_extensions(layer: ChannelLayer) -> None:
    """`extensions` is a list of names, groups and flush among them, whose methods are there."""
    assert isinstance(layer.extensions, (list, tuple))
    assert set(METHODS) <= set(layer.extensions)
    for extension in layer.extensions:
        assert all(callable(getattr(layer, method)) for method in METHODS.get(extension, ()))


def as_name(name: Any) -> str:
    """Pass a value on as the string that it should be."""
    return name  # type: ignore[no-any-return]
