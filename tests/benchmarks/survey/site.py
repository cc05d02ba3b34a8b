"""A site's server process: uvicorn with a chat of one room, on the contender's layer."""

from __future__ import annotations

import asyncio
import gc
import importlib
import socket
import time
from typing import TYPE_CHECKING, Any

import uvicorn
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import channel_layers
from django.conf import settings

from benchmarks.survey.contenders import CONTENDERS

if TYPE_CHECKING:
    from typing_extensions import Self

    from benchmarks.survey.trial import Job

GROUP = "room"


class Chat(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """Sends to the room what a client says, and to its client what the room is sent."""

    groups = (GROUP,)

    async def receive_json(self, content: Any) -> None:
        """Send a client's words to the room."""
        await self.channel_layer.group_send(GROUP, {"type": "chat.message", "content": content})

    async def chat_message(self, event: dict[str, Any]) -> None:
        """Send a client what the room is sent."""
        await self.send_json(event["content"])


def application(job: Job) -> Any:
    """Return the ASGI application that a job is about."""
    if not settings.configured:
        settings.configure(INSTALLED_APPS=["channels"], CHANNEL_LAYERS={})
    channel_layers.set("default", job.layer())
    if not job.parameters.get("broadcast"):
        return Chat.as_asgi()
    # Only the environments of our own layers have it.
    package, _, _ = CONTENDERS[job.contender].backend.partition(".")
    fast = importlib.import_module(f"{package}.broadcast")

    def chat_message(event: dict[str, Any]) -> Any:
        return event["content"]

    quick: Any = type(
        "Quick", (fast.Broadcasts, Chat), {"chat_message": fast.broadcast(chat_message)}
    )
    return quick.as_asgi()


class Site:
    """A server in this process. Use it in an `async with`."""

    def __init__(self, job: Job) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=4096)
        config = uvicorn.Config(
            application(job), ws="websockets-sansio", lifespan="off", log_level="warning"
        )
        self._server = uvicorn.Server(config)

    async def __aenter__(self) -> Self:
        self._serving = asyncio.ensure_future(self._server.serve([self._socket]))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        await self._serving

    async def port(self) -> int:
        """Return the port that it listens on."""
        port: int = self._socket.getsockname()[1]
        return port

    async def cpu(self) -> float:
        """Return the CPU time of this process up to now."""
        return time.process_time()

    async def forget_garbage(self) -> None:
        """Collect the garbage of the connecting, which is no part of what is measured."""
        gc.collect()
        gc.freeze()
