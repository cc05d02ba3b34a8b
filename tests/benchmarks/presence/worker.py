"""A process of the site: people who come and go, and a page in each room."""

from __future__ import annotations

import asyncio
import importlib
import time
from typing import TYPE_CHECKING, Any

from channels.layers import channel_layers
from django.conf import settings

from support.worker import arguments, async_requests, reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    # A room and a person's key.
    Person = Sequence[str]


class Process:
    """A layer, the people of this process, and what its pages were told.

    Args:
        layer: The channel layer.
        presence: The package's module.
        options: Those of its `Presence`.
    """

    def __init__(self, layer: Any, presence: Any, options: Mapping[str, Any]) -> None:
        channel_layers.set("default", layer)
        self._layer = layer
        self._presence = presence.Presence(**options)
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
        await asyncio.gather(
            *(
                self._come(room, key, seconds * number / len(people))
                for number, (room, key) in enumerate(people)
            )
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
        return {
            room: (
                {key: len(metas) for key, metas in (await self._presence.list(room)).items()},
                await self._presence.count(room),
            )
            for room in rooms
        }

    async def told(self) -> dict[str, Any]:
        """Return what the pages were told since the last call."""
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
    shard = importlib.import_module(f"{given['package']}._shared.presence.shard")
    for name, value in given["intervals"].items():
        setattr(shard, name, value)
    presence = importlib.import_module(f"{given['package']}._shared.presence")
    # Its channels are never received on.
    layer = layer_class(hosts=given["hosts"], prefix=given["prefix"], channel_expiry=3600)
    process = Process(layer, presence, given["options"])
    async for request in async_requests():
        reply(result=await getattr(process, request["method"])(*request["arguments"]))


if __name__ == "__main__":
    asyncio.run(main())
