"""Consumers as users write them, for the tests that run them on each layer."""

from __future__ import annotations

import threading
from typing import Any

from asgiref.sync import async_to_sync
from channels.consumer import AsyncConsumer, SyncConsumer
from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    WebsocketConsumer,
)
from channels.routing import ChannelNameRouter, ProtocolTypeRouter


class Chat(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no type hints
    """Joins the room on connecting, passes on its messages, leaves on disconnecting."""

    async def connect(self) -> None:
        """Join the room."""
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        """Say goodbye to the room and leave it."""
        await self.channel_layer.group_send("room", {"type": "chat.message", "text": f"-{code}"})
        await self.channel_layer.group_discard("room", self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send the text to the room."""
        message = {"type": "chat.message", "text": text_data or str(bytes_data)}
        await self.channel_layer.group_send("room", message)

    async def chat_message(self, event: dict[str, Any]) -> None:
        """Show a message to the room."""
        await self.send(text_data=event["text"])

    async def chat_kick(self, event: dict[str, Any]) -> None:
        """Close the WebSocket, from within a handler."""
        await self.close(code=event["code"])

    async def chat_crash(self, event: dict[str, Any]) -> None:
        """Fail, as a handler with a mistake does."""
        raise LookupError(event["text"])


class SyncChat(WebsocketConsumer):  # type: ignore[misc]
    """The same in synchronous code."""

    def connect(self) -> None:
        """Join the room."""
        async_to_sync(self.channel_layer.group_add)("room", self.channel_name)
        self.accept()

    def disconnect(self, _code: int) -> None:
        """Leave the room."""
        async_to_sync(self.channel_layer.group_discard)("room", self.channel_name)

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send the text to the room."""
        message = {"type": "chat.message", "text": text_data or str(bytes_data)}
        async_to_sync(self.channel_layer.group_send)("room", message)

    def chat_message(self, event: dict[str, Any]) -> None:
        """Show a message to the room."""
        self.send(text_data=event["text"])


class Feed(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Names its groups in the class, so that Channels joins and leaves them."""

    groups = ("news", "sports")

    async def receive_json(self, content: dict[str, Any]) -> None:
        """Send the client the name of its channel."""
        await self.send_json({"channel": self.channel_name, "asked": content})

    async def feed_item(self, event: dict[str, Any]) -> None:
        """Show an item of a group."""
        await self.send_json(event["item"])


class Images(AsyncConsumer):  # type: ignore[misc]
    """Work for a worker process: answers to a group."""

    async def image_scale(self, event: dict[str, Any]) -> None:
        """Report the work as done."""
        answer = {"type": "job.done", "channel": self.scope["channel"], "number": event["number"]}
        await self.channel_layer.group_send("answers", answer)


class Mails(SyncConsumer):  # type: ignore[misc]
    """The same in synchronous code."""

    at_work = threading.Lock()

    def mail_send(self, event: dict[str, Any]) -> None:
        """Report the work as done."""
        answer = {"type": "job.done", "channel": self.scope["channel"], "number": event["number"]}
        with self.at_work:
            async_to_sync(self.channel_layer.group_send)("answers", answer)


application = ProtocolTypeRouter(
    {"channel": ChannelNameRouter({"images": Images.as_asgi(), "mails": Mails.as_asgi()})}
)
