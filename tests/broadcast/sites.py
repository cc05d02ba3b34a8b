"""WebSockets of consumers in this process, as an ASGI server would run them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from support import inside
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable


class Socket:
    """One WebSocket: what its consumer sent, and the task of its consumer.

    Args:
        consumer: The consumer's class.
        path: The path of its scope.
    """

    def __init__(self, consumer: Any, path: str = "/") -> None:
        self.sent: list[dict[str, Any]] = []
        # Before each frame of data is written; may wait, or raise.
        self.before_write: Callable[[], Any] | None = None
        self.consumer: Any = None
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._events.put_nowait({"type": "websocket.connect"})
        self._scope = {"type": "websocket", "path": path}
        self.task = asyncio.create_task(self._run(consumer))

    async def _run(self, consumer: Any) -> None:
        self.consumer = consumer()
        await self.consumer(self._scope, self._events.get, self._send)

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send" and self.before_write is not None:
            await self.before_write()
        self.sent.append(message)

    @property
    def frames(self) -> list[str | bytes]:
        """The data of all frames."""
        return [
            message.get("text") or message["bytes"]
            for message in self.sent
            if message["type"] == "websocket.send"
        ]

    @property
    def ended(self) -> bool:
        """True if the consumer has ended."""
        return self.task.done()

    def receive(self, text: str) -> None:
        """Let the browser send a text."""
        self._events.put_nowait({"type": "websocket.receive", "text": text})

    async def opened(self) -> None:
        """Wait until the consumer has accepted, and waits for messages."""
        await eventually(lambda: self.sent or self.task.done())
        await eventually(
            lambda: self.consumer.channel_layer is None or self.is_waiting or self.task.done()
        )

    @property
    def is_waiting(self) -> bool:
        """True if a `receive` of the consumer waits, and none of its handlers runs."""
        layer = self.consumer.channel_layer
        if not hasattr(layer, "attach_sink"):
            return True
        waits = inside.waiting_calls(layer, self.consumer.channel_name)
        return bool(waits) and not inside.is_handling(self.consumer)

    def leave(self) -> None:
        """Close the WebSocket as a browser does."""
        self._events.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def disconnect(self) -> None:
        """Close the WebSocket, and wait for the consumer's end."""
        self.leave()
        await eventually(self.task.done)

    async def stop(self) -> None:
        """End the consumer, whatever it does."""
        self.task.cancel()
        await asyncio.wait([self.task])
