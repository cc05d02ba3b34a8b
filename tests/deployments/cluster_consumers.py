"""Consumers in a process of their own: each receives on a channel that is in the group `everyone`.

Requests: `send` a number of messages to each of some channels, and as many to the group; `count`
what the consumers have; `received` shows it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from django.utils.module_loading import import_string

from support.worker import arguments, async_requests, reply

GROUP = "everyone"


class Consumers:
    """The consumers, and what each got, in order."""

    def __init__(self, layer: Any, sender: str) -> None:
        self._layer = layer
        self._sender = sender
        self.received: dict[str, list[Any]] = {}

    async def consume(self, channel: str) -> None:
        """Receive on a channel until cancelled; an error counts as a message."""
        received = self.received[channel]
        while True:
            try:
                message = await self._layer.receive(channel)
            except Exception as error:  # noqa: BLE001 - the test wants to see each
                received.append(repr(error))
                return
            received.append([message["kind"], message["sender"], message["number"]])

    async def send(self, channels: list[str], count: int) -> None:
        """Send to all channels and to the group, each in order."""
        sends = [self._send("direct", channel, count) for channel in channels]
        await asyncio.gather(*sends, self._send("group", GROUP, count))

    async def _send(self, kind: str, name: str, count: int) -> None:
        to = self._layer.group_send if kind == "group" else self._layer.send
        for number in range(count):
            message = {"type": "x", "kind": kind, "sender": self._sender, "number": number}
            await to(name, message)


async def main() -> None:
    """Start the consumers, and answer one request after the other."""
    given = arguments()
    layer = import_string(given["backend"])(**given["config"])
    consumers = Consumers(layer, given["name"])
    for _ in range(given["count"]):
        channel = await layer.new_channel()
        await layer.group_add(GROUP, channel)
        consumers.received[channel] = []
    tasks = [asyncio.create_task(consumers.consume(channel)) for channel in consumers.received]
    reply(channels=list(consumers.received))
    async for request in async_requests():
        if "send" in request:
            await consumers.send(request["send"], request["messages"])
        reply(
            count=sum(map(len, consumers.received.values())),
            received=consumers.received if "received" in request else None,
        )
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


asyncio.run(main())
