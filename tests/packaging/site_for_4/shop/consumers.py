"""The site's consumers: an asynchronous and a synchronous one."""

from __future__ import annotations

from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer


class Room(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Passes on what is said in a room."""

    async def connect(self) -> None:
        """Join the room."""
        self.room = f"room.{self.scope['url_route']['kwargs']['room']}"
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()

    async def disconnect(self, _: int) -> None:
        """Leave the room."""
        await self.channel_layer.group_discard(self.room, self.channel_name)

    async def receive_json(self, content: dict[str, Any]) -> None:
        """Say it to all."""
        await self.channel_layer.group_send(
            self.room, {"type": "room.said", "text": content["text"]}
        )

    async def room_said(self, event: dict[str, Any]) -> None:
        """Pass it on."""
        await self.send_json({"text": event["text"]})


class Prices(JsonWebsocketConsumer):  # type: ignore[misc]
    """Shows prices."""

    groups = ("prices",)

    def price_changed(self, event: dict[str, Any]) -> None:
        """Show a price."""
        self.send_json({"price": event["price"]})
