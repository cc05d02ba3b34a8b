"""The site's own tests, for `manage.py test`."""

from __future__ import annotations

from typing import Any

from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.test import SimpleTestCase

from .asgi import application

DEADLINE = 20
QUEUE = settings.CHANNEL_LAYERS["default"]["BACKEND"].endswith("core.RedisChannelLayer")


async def connect(url: str) -> Any:
    """Open a WebSocket."""
    socket = WebsocketCommunicator(application, url)
    connected, _ = await socket.connect(timeout=DEADLINE)
    assert connected
    return socket


class ShopTests(SimpleTestCase):  # type: ignore[misc]
    """The site, as its users see it."""

    async def test_room(self) -> None:
        """All in a room get what one of them says; others don't."""
        ann, bob = await connect("/room/kitchen/"), await connect("/room/kitchen/")
        other = await connect("/room/cellar/")
        await ann.send_json_to({"text": "Tea?"})
        for socket in (ann, bob):
            assert await socket.receive_json_from(DEADLINE) == {"text": "Tea?"}
        assert await other.receive_nothing()
        for socket in (ann, bob, other):
            await socket.disconnect(timeout=DEADLINE)

    async def test_price(self) -> None:
        """A synchronous view reaches synchronous consumers."""
        sockets = [await connect("/prices/") for _ in range(3)]
        response = await self.async_client.get("/price/?price=12")
        assert response.status_code == 200
        for socket in sockets:
            assert await socket.receive_json_from(DEADLINE) == {"price": 12}
            await socket.disconnect(timeout=DEADLINE)

    async def test_capacity(self) -> None:
        """A channel that matches the pattern is full with two messages, in the queue layer."""
        layer = get_channel_layer()
        for _ in range(2):
            await layer.send("slow.one", {"type": "x"})
        if QUEUE:
            with self.assertRaises(ChannelFull):  # noqa: PT027 - as in any project on Django's tests
                await layer.send("slow.one", {"type": "x"})
        for _ in range(3):
            await layer.send("slow.one.other", {"type": "x"})
