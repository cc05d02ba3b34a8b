"""The layers that one test talks to, and how it waits for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from django.utils.module_loading import import_string

from support.messages import Message, take, take_elsewhere, take_many, within

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from conformance.variants import Variant


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

        A general channel gets a message for each shard, since each shard has its own queue.
        """
        count = 1 if "!" in channel else self.variant.shards
        markers = [{"type": "marker", "number": number} for number in range(count)]
        for marker in markers:
            await within(layer.send(channel, marker))
        strays = [found for found in await take_many(layer, channel, count) if found not in markers]
        assert not strays, f"{channel} held {strays}"


async def waiting_receiver(layer: ChannelLayer, channel: str) -> asyncio.Task[Message]:
    """Start to receive, and return once the layer has had its turns to begin to wait."""
    receiver = asyncio.create_task(take(layer, channel))
    await take_elsewhere(layer)
    return receiver
