"""The site's view, its consumers of both kinds, and its ASGI application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.urls import path

if TYPE_CHECKING:
    from django.http import HttpRequest


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
        message = {"type": "room.said", "text": content["text"]}
        await self.channel_layer.group_send(self.room, message)

    async def room_said(self, event: dict[str, Any]) -> None:
        """Pass it on."""
        await self.send_json({"text": event["text"]})


class Prices(JsonWebsocketConsumer):  # type: ignore[misc]
    """Shows prices."""

    groups = ("prices",)

    def price_changed(self, event: dict[str, Any]) -> None:
        """Show a price."""
        self.send_json({"price": event["price"]})


def change_price(request: HttpRequest) -> HttpResponse:
    """Send a price to all who look at prices."""
    message = {"type": "price.changed", "price": int(request.GET["price"])}
    async_to_sync(get_channel_layer().group_send)("prices", message)
    return HttpResponse()


urlpatterns = [path("price/", change_price)]
sockets = [path("room/<room>/", Room.as_asgi()), path("prices/", Prices.as_asgi())]
application = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": URLRouter(sockets)})
