"""The site's ASGI application."""

from __future__ import annotations

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django_application = get_asgi_application()

from .consumers import Prices, Room  # noqa: E402 - after Django was set up

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": URLRouter(
            [path("room/<room>/", Room.as_asgi()), path("prices/", Prices.as_asgi())]
        ),
    }
)
