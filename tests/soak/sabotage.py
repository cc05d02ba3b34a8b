"""Layers that break a promise on purpose, to show that the checker finds it."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

# How often, by the messages that are received.
ODDS = 1 / 1000
KINDS = ("drop", "double", "swap", "mute")


class Sabotaged:
    """A channel layer whose `receive` drops, doubles, swaps or mutes one in a thousand.

    Args:
        layer: The real one.
        kind: One of `KINDS`. "mute" leaves the channel silent from then on.
        chance: The source of what is otherwise left to chance.
        odds: How likely it is for each message.
    """

    def __init__(
        self,
        layer: Any,
        kind: str,
        chance: random.Random,
        odds: float,
    ) -> None:
        self._layer = layer
        self._kind = kind
        self._chance = chance
        self._odds = odds
        self._kept: dict[str, deque[dict[str, Any]]] = defaultdict(deque)
        self._muted: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)

    async def receive(self, channel: str) -> dict[str, Any]:
        """Return the next message of a channel, or what the sabotage makes of it."""
        if self._kept[channel]:
            return self._kept[channel].popleft()
        message = await self._receive(channel)
        if "id" not in message or self._chance.random() > self._odds:
            return message
        if self._kind == "drop":
            return await self._receive(channel)
        if self._kind == "mute":
            self._muted.add(channel)
            return await self._receive(channel)
        if self._kind == "double":
            self._kept[channel].append(dict(message))
            return message
        # Kept first: if this is cancelled, the message is still there.
        self._kept[channel].append(message)
        return await self._receive(channel)

    async def _receive(self, channel: str) -> dict[str, Any]:
        if channel in self._muted:
            await asyncio.Event().wait()  # which is never set
        message: dict[str, Any] = await self._layer.receive(channel)
        return message
