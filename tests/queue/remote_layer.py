"""A layer in its own process, which does what `support.queue_layers.RemoteLayer` asks for."""

from __future__ import annotations

import asyncio

from channels_redis_queue import RedisChannelLayer
from support.worker import answer_calls, arguments


class Load:
    """Receivers in the background, how much they got, and senders of many messages."""

    def __init__(self, layer: RedisChannelLayer) -> None:
        self.layer = layer
        self._received = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def drain(self, channel: str, receivers: int) -> None:
        """Receive from now on in the background, as so many consumers."""
        self._tasks += [asyncio.create_task(self._drain(channel)) for _ in range(receivers)]

    async def _drain(self, channel: str) -> None:
        while True:
            await self.layer.receive(channel)
            self._received += 1

    async def count(self) -> int:
        """Return how many messages the background receivers have."""
        return self._received

    async def stop(self) -> None:
        """End the background receivers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def send_many(self, channel: str, numbers: list[int]) -> None:
        """Send numbered messages one after the other."""
        for number in numbers:
            await self.layer.send(channel, {"type": "test.message", "number": number})

    async def send_at_once(self, channel: str, numbers: list[int]) -> None:
        """Send numbered messages all at once."""
        sends = [
            self.layer.send(channel, {"type": "test.message", "number": number})
            for number in numbers
        ]
        await asyncio.gather(*sends)


async def main() -> None:
    """Answer one call after the other."""
    layer = RedisChannelLayer(**arguments())
    load = Load(layer)
    await answer_calls(load, layer)
    await load.stop()


asyncio.run(main())
