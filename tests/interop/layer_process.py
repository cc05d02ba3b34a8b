"""A layer in a separate process, of `channels_redis` 4 or ours: it imports nothing else.

It receives in the background on every requested channel, and reports messages.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from support.worker import answer_calls, arguments


class Inbox:
    """The messages received on each channel."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._received: dict[str, list[Any]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def listen(self, channel: str) -> None:
        """Receive on a channel from now on."""
        self._received.setdefault(channel, [])
        self._tasks.append(asyncio.create_task(self._receive(channel)))

    async def _receive(self, channel: str) -> None:
        while True:
            try:
                message = await self._layer.receive(channel)
            except Exception as error:  # noqa: BLE001 - the test wants to see each
                message = {"error": repr(error)}
            self._received[channel].append(message)
            if "error" in message:
                return

    async def received(self) -> dict[str, list[Any]]:
        """Return what came, by channel."""
        return self._received

    async def send_all(self, method: str, name: str, messages: list[Any]) -> None:
        """Call `send` or `group_send` with each message."""
        for message in messages:
            await getattr(self._layer, method)(name, message)

    def stop(self) -> None:
        """Stop receiving."""
        for task in self._tasks:
            task.cancel()


async def main() -> None:
    """Answer one call after the other."""
    options = arguments()
    module, _, name = options.pop("backend").rpartition(".")
    layer = getattr(importlib.import_module(module), name)(**options)
    inbox = Inbox(layer)
    await answer_calls(inbox, layer)
    inbox.stop()


asyncio.run(main())
