"""The layers that one test talks to, and how it waits for them."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

    from conformance.variants import Variant

Message = dict[str, Any]
T = TypeVar("T")

# Seconds for what should take milliseconds; a loaded machine may need some.
DEADLINE = float(os.environ.get("CONFORMANCE_DEADLINE", "30"))


class ChannelLayer(Protocol):
    """The methods and attributes that Channels expects of its layers."""

    extensions: Sequence[str]
    expiry: int
    group_expiry: int
    capacity: int

    async def send(self, channel: str, message: Message) -> None:
        """Put a message into a channel."""

    async def receive(self, channel: str) -> Message:
        """Wait for the next message of a channel."""

    async def new_channel(self, prefix: str = ...) -> str:
        """Return the name of a channel of this process."""

    async def group_add(self, group: str, channel: str) -> None:
        """Make a channel a member of a group."""

    async def group_discard(self, group: str, channel: str) -> None:
        """End a membership."""

    async def group_send(
        self, group: str, message: Message, *, exclude: Iterable[str] = ...
    ) -> None:
        """Send a message to all members but some."""

    async def flush(self) -> None:
        """Forget everything."""


class LayerCase:
    """Layers of one variant that share servers and prefix.

    Two layers of a case are what two processes of a site are to each other.
    """

    def __init__(self, variant: Variant, config: dict[str, Any]) -> None:
        self.variant = variant
        self.config = config
        # Django's settings that the layer needs.
        self.settings: dict[str, Any] = {}
        self._layers: list[Any] = []

    @property
    def prefix(self) -> str:
        """The prefix of the layers, which no other test uses."""
        return str(self.config.get("prefix", ""))

    def layer(self, **options: object) -> ChannelLayer:
        """Return a new layer; `options` go before the variant's own."""
        layer: Any = import_string(self.variant.backend)(**{**self.config, **options})
        self._layers.append(layer)
        return layer  # type: ignore[no-any-return]

    async def close(self, *layers: ChannelLayer) -> None:
        """Close the connections of some layers, by default of all that were made here."""
        for layer in layers or self._layers:
            # Channels' in-memory layer has nothing to close.
            close_pools = getattr(layer, "close_pools", None)
            if close_pools is not None:
                await within(close_pools())

    async def nothing_else(self, layer: ChannelLayer, channel: str) -> None:
        """Check that nothing waits in a channel, by sending to it and receiving just that.

        A general channel gets a message for each shard, since each shard has a queue of its own.
        """
        count = 1 if "!" in channel else self.variant.shards
        markers = [{"type": "marker", "number": number} for number in range(count)]
        for marker in markers:
            await within(layer.send(channel, marker))
        strays = [found for found in await take_many(layer, channel, count) if found not in markers]
        assert not strays, f"{channel} held {strays}"


async def within(awaitable: Awaitable[T], seconds: float = DEADLINE) -> T:
    """Await something that has to happen, and fail the test when it does not."""
    return await asyncio.wait_for(awaitable, seconds)


async def take(layer: ChannelLayer, channel: str) -> Message:
    """Receive one message."""
    return await within(layer.receive(channel))


async def take_many(layer: ChannelLayer, channel: str, count: int) -> list[Message]:
    """Receive as many messages, one after the other."""
    return [await take(layer, channel) for _ in range(count)]


async def waiting_receiver(layer: ChannelLayer, channel: str) -> asyncio.Task[Message]:
    """Start to receive, and return once the layer has had its turns to begin to wait."""
    receiver = asyncio.create_task(take(layer, channel))
    elsewhere = await within(layer.new_channel())
    await within(layer.send(elsewhere, {"type": "elsewhere"}))
    await take(layer, elsewhere)
    return receiver


async def joined(layer: ChannelLayer, group: str) -> str:
    """Return a new channel that is a member of a group."""
    channel = await within(layer.new_channel())
    await within(layer.group_add(group, channel))
    return channel


async def until(since: float, seconds: float) -> None:
    """Return when as many seconds have passed since a `time.monotonic` value."""
    while (remaining := since + seconds - time.monotonic()) > 0:
        await asyncio.sleep(remaining)


def numbered(count: int, start: int = 0) -> list[Message]:
    """Return messages that can be told apart."""
    return [{"type": "test.message", "number": number} for number in range(start, start + count)]
