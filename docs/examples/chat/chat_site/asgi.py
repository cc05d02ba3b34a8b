"""The ASGI application: the page over HTTP, the chat over a WebSocket."""

from __future__ import annotations

from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application
from django.urls import path

from chat_site.consumers import ChatConsumer

get_channel_layer()  # Let wrong settings stop the server now, not its first visitor.

application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": AllowedHostsOriginValidator(
            URLRouter([path("ws/", ChatConsumer.as_asgi())]),
        ),
    }
)
