"""A process of the site: people who come, and a page that hears of them."""

from __future__ import annotations

import asyncio
import importlib
import time
from typing import TYPE_CHECKING, Any

from channels.layers import channel_layers
from django.conf import settings

from benchmarks.survey.contenders import CONTENDERS, make_layer
from support.worker import answer_calls, arguments

if TYPE_CHECKING:
    from collections.abc import Sequence


class Process:
    """A layer, the people of this process, and what its page has heard."""

    def __init__(self, layer: Any, presence: Any) -> None:
        self._layer = layer
        self._presence = presence
        self._channels: dict[str, str] = {}
        self._waiting: list[str] = []
        self._page: asyncio.Task[None]
        self._people: set[str] = set()
        self._messages = self._bytes = self._joins = 0
        self._last = 0.0

    async def connect(self, count: int) -> None:
        """Open connections for people who come later."""
        self._waiting += [await self._layer.new_channel() for _ in range(count)]

    async def watch(self, room: str) -> None:
        """Open a page in the room."""
        channel = await self._layer.new_channel()
        await self._layer.group_add(f"{room}.presence", channel)
        self._page = asyncio.create_task(self._look(channel))

    async def join(self, room: str, people: Sequence[str], seconds: float) -> tuple[float, float]:
        """Let people come, evenly over some seconds; return when it began and when all are in."""
        began = time.monotonic()
        pause = seconds / len(people)
        await asyncio.gather(*(self._come(room, key, pause * at) for at, key in enumerate(people)))
        return began, time.monotonic()

    async def change(self, room: str, key: str, count: int) -> None:
        """Change the meta of a person, one time after the other."""
        for number in range(count):
            meta = {"name": f"Person {number}"}
            await self._presence.track(room, self._channels[key], key, meta)

    async def list(self, room: str, count: int) -> None:
        """List the people in the room, one time after the other."""
        for _ in range(count):
            await self._presence.list(room)

    async def heard(self) -> dict[str, Any]:
        """Return what the page has heard so far, and when of the last person."""
        return {
            "messages": self._messages,
            "bytes": self._bytes,
            "joins": self._joins,
            "people": len(self._people),
            "last": self._last,
        }

    async def _come(self, room: str, key: str, delay: float) -> None:
        await asyncio.sleep(delay)
        self._channels[key] = channel = self._waiting.pop()
        await self._presence.track(room, channel, key, {"name": f"Person {key}"})

    async def _look(self, channel: str) -> None:
        while True:
            message = await self._layer.receive(channel)
            self._last = time.monotonic()
            self._messages += 1
            self._bytes += len(self._layer.serialize(message))
            self._joins += len(message["joins"])
            self._people.update(message["joins"])


async def main() -> None:
    """Do what the benchmark says until it ends."""
    given = arguments()
    settings.configure()
    # Its channels are never received on.
    options = {"prefix": given["prefix"], "channel_expiry": 3600}
    layer = make_layer(CONTENDERS[given["name"]], given["hosts"], options)
    channel_layers.set("default", layer)
    presence = importlib.import_module(f"channels_redis_{given['name']}.presence").Presence()
    await answer_calls(Process(layer, presence))


if __name__ == "__main__":
    asyncio.run(main())
