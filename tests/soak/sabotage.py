"""Layers that break a promise on purpose, to show that the checker finds it."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

# How often, by the messages that are received.
ODDS = 1 / 1000
KINDS = ("drop", "double", "swap", "mute")


@dataclass(eq=False)
class Sabotaged:
    """A channel layer whose `receive` drops, doubles, swaps or mutes one in a thousand.

    Args:
        layer: The real one.
        kind: One of `KINDS`. "mute" leaves the channel silent from then on.
        chance: The source of what is otherwise left to chance.
        odds: How likely it is for each message.
    """

    layer: Any
    kind: str
    chance: random.Random
    odds: float
    _kept: dict[str, deque[dict[str, Any]]] = field(default_factory=lambda: defaultdict(deque))
    _muted: set[str] = field(default_factory=set)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.layer, name)

    async def receive(self, channel: str) -> dict[str, Any]:
        """Return the next message of a channel, or what the sabotage makes of it."""
        if self._kept[channel]:
            return self._kept[channel].popleft()
        message = await self._receive(channel)
        if "id" not in message or self.chance.random() > self.odds:
            return message
        if self.kind == "drop":
            return await self._receive(channel)
        if self.kind == "mute":
            self._muted.add(channel)
            return await self._receive(channel)
        if self.kind == "double":
            self._kept[channel].append(dict(message))
            return message
        # Kept first: if this is cancelled, the message is still there.
        self._kept[channel].append(message)
        return await self._receive(channel)

    async def _receive(self, channel: str) -> dict[str, Any]:
        if channel in self._muted:
            await asyncio.Event().wait()  # which is never set
        message: dict[str, Any] = await self.layer.receive(channel)
        return message
