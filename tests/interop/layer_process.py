"""A layer in a separate process, of `channels_redis` 4 or ours: it imports nothing else.

It receives in the background on every requested channel, and reports messages.
"""

from __future__ import annotations

import asyncio
import importlib
from collections import defaultdict
from typing import Any

from support.worker import answer_calls, arguments


class Inbox:
    """The messages received on each channel."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._received: defaultdict[str, list[Any]] = defaultdict(list)
        self._tasks: list[asyncio.Task[None]] = []

    async def listen(self, channel: str, receivers: int = 1) -> None:
        """Receive on a channel from now on, as so many consumers."""
        self._tasks += [asyncio.create_task(self._receive(channel)) for _ in range(receivers)]

    async def _receive(self, channel: str) -> None:
        while True:
            try:
                message = await self._layer.receive(channel)
            except Exception as error:  # noqa: BLE001 - the test wants to see each
                message = {"error": repr(error)}
            self._received[channel].append(message)
            if "error" in message:
                return

    async def received(self, channel: str) -> list[Any]:
        """Return what came on a channel."""
        return self._received[channel]

    async def count(self, channel: str) -> int:
        """Return how many messages came on a channel."""
        return len(self._received[channel])

    async def send_all(self, method: str, name: str, messages: list[Any]) -> None:
        """Call `send` or `group_send` with each message."""
        for message in messages:
            await getattr(self._layer, method)(name, message)

    async def send_at_once(self, channel: str, messages: list[Any]) -> None:
        """Send messages all at once."""
        await asyncio.gather(*(self._layer.send(channel, message) for message in messages))

    async def stop(self) -> None:
        """Stop receiving."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def main() -> None:
    """Answer one call after the other."""
    options = arguments()
    module, _, name = options.pop("backend").rpartition(".")
    layer = getattr(importlib.import_module(module), name)(**options)
    inbox = Inbox(layer)
    await answer_calls(inbox, layer)
    await inbox.stop()


asyncio.run(main())
