"""A site's server process: uvicorn with a chat of one room, on the contender's layer.

As a program it is a process of a crew: it says which port it listens on, collects its
garbage on a line, and ends with its input.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import socket
import sys
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import channel_layers
from django.conf import settings

from benchmarks.survey.crew import assignment
from benchmarks.survey.trial import say

if TYPE_CHECKING:
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
    fast = importlib.import_module(f"channels_redis_{job.contender}.broadcast")

    def chat_message(event: dict[str, Any]) -> Any:
        return event["content"]

    quick: Any = type(
        "Quick", (fast.Broadcasts, Chat), {"chat_message": fast.broadcast(chat_message)}
    )
    return quick.as_asgi()


async def main() -> None:
    """Be a process of a crew."""
    job, _ = assignment(sys.stdin.readline())
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    config = uvicorn.Config(
        application(job), ws="websockets-sansio", lifespan="off", log_level="warning"
    )
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve([listening]))
    say(listening.getsockname()[1])
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.readline)
    # All browsers are connected: the garbage of that is no part of what is measured.
    gc.collect()
    gc.freeze()
    say(None)
    await loop.run_in_executor(None, sys.stdin.readline)
    server.should_exit = server.force_exit = True
    await serving


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main())
