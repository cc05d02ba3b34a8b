"""A process of the site: people who come and go, and a page in each room."""

from __future__ import annotations

import asyncio
import importlib
import time
from typing import TYPE_CHECKING, Any

from channels.layers import channel_layers
from django.conf import settings

from support.worker import answer_calls, arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    Person = Sequence[str]  # a room and a key


class Process:
    """A layer, the people of this process, and what its pages have heard."""

    def __init__(self, layer: Any, presence: Any) -> None:
        self._layer = layer
        self._presence = presence
        self._channels: dict[tuple[str, str], str] = {}
        self._waiting: list[str] = []
        self._pages: list[asyncio.Task[None]] = []
        self._events: list[tuple[str, str, str, float]] = []
        self._messages = 0
        self._bytes = 0

    async def connect(self, count: int) -> None:
        """Open connections for people who come later."""
        self._waiting += [await self._layer.new_channel() for _ in range(count)]

    async def watch(self, rooms: Sequence[str]) -> None:
        """Open a page in each room."""
        for room in rooms:
            channel = await self._layer.new_channel()
            await self._layer.group_add(f"{room}.presence", channel)
            self._pages.append(asyncio.create_task(self._look(room, channel)))

    async def join(self, people: Sequence[Person], seconds: float = 0) -> tuple[float, float]:
        """Let people come, evenly over some seconds; return when it began and when all are in."""
        began = time.monotonic()
        pause = seconds / len(people)
        await asyncio.gather(
            *(self._come(room, key, pause * at) for at, (room, key) in enumerate(people))
        )
        return began, time.monotonic()

    async def leave(self, people: Sequence[Person]) -> None:
        """Let people go."""
        for room, key in people:
            await self._presence.untrack(room, self._channels.pop((room, key)))

    async def change(self, room: str, key: str, count: int) -> None:
        """Change the meta of a person, one time after the other."""
        for number in range(count):
            meta = {"name": f"Person {number}"}
            await self._presence.track(room, self._channels[room, key], key, meta)

    async def list(self, rooms: Sequence[str]) -> dict[str, tuple[dict[str, int], int]]:
        """Return the connections of each person in the rooms, and the number of people."""
        found = {}
        for room in rooms:
            people = await self._presence.list(room)
            connections = {key: len(metas) for key, metas in people.items()}
            found[room] = connections, await self._presence.count(room)
        return found

    async def heard(self) -> dict[str, Any]:
        """Return what the pages have heard since the last call."""
        found = {"messages": self._messages, "bytes": self._bytes, "events": self._events}
        self._messages, self._bytes, self._events = 0, 0, []
        return found

    async def _come(self, room: str, key: str, delay: float) -> None:
        await asyncio.sleep(delay)
        channel = self._waiting.pop() if self._waiting else await self._layer.new_channel()
        self._channels[room, key] = channel
        await self._presence.track(room, channel, key, {"name": f"Person {key}"})

    async def _look(self, room: str, channel: str) -> None:
        while True:
            message = await self._layer.receive(channel)
            now = time.monotonic()
            self._messages += 1
            self._bytes += len(self._layer.serialize(message))
            for kind in ("joins", "leaves"):
                self._events += [(kind, room, key, now) for key in message[kind]]


async def main() -> None:
    """Do what the benchmark says until it ends."""
    given = arguments()
    settings.configure()
    layer_class = getattr(importlib.import_module(given["package"]), given["layer"])
    # Its channels are never received on.
    layer = layer_class(**given["options"], channel_expiry=3600)
    channel_layers.set("default", layer)
    presence = importlib.import_module(f"{given['package']}.presence").Presence()
    await answer_calls(Process(layer, presence))


if __name__ == "__main__":
    asyncio.run(main())
