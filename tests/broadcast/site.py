"""A site for any ASGI server: a room whose members get each other's words by broadcast."""

from __future__ import annotations

import os
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings

from channels_redis.broadcast import Broadcasts, broadcast

settings.configure(
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": os.environ["BACKEND"],
            "CONFIG": {"hosts": [os.environ["REDIS_URL"]], "prefix": os.environ["PREFIX"]},
        }
    },
)


class Room(Broadcasts, AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    """Sends what a client says to all, and says how many frames went the quick way."""

    groups = ("room",)

    async def receive_json(self, content: Any, **_: Any) -> None:
        """Send it to the room."""
        if content == "how many":
            await self.send_json(self.channel_layer.statistics().broadcasts)
        else:
            await self.channel_layer.group_send("room", {"type": "said", "content": content})

    @broadcast
    def said(event: dict[str, Any]) -> Any:  # noqa: N805 - a broadcast has no self
        """Send a client what was said."""
        return event["content"]


application = Room.as_asgi()
