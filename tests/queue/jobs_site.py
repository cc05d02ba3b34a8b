"""A site, with its settings, whose jobs tell the channel `results` when they begin and end."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from asgiref.sync import async_to_sync
from channels.consumer import AsyncConsumer, SyncConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter

SECRET_KEY = "for a test"
INSTALLED_APPS = ["channels_redis_queue", "channels_redis", "channels"]
ASGI_APPLICATION = "jobs_site.application"
CONFIG = {"hosts": [os.environ["REDIS_URL"]], "prefix": os.environ["PREFIX"]}
# Without it, Django 4.2 warns.
USE_TZ = True
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis_queue.RedisChannelLayer", "CONFIG": CONFIG},
    "pubsub": {"BACKEND": "channels_redis_pubsub.RedisPubSubChannelLayer", "CONFIG": CONFIG},
}


class Jobs(AsyncConsumer):  # type: ignore[misc]  # Channels has no types.
    """Jobs that wait in the event loop."""

    async def job(self, job: dict[str, Any]) -> None:
        """Take `seconds`, and fail if the job says so."""
        result = {"type": "result", "number": job.pop("number"), "worker": os.getpid()}
        await self.channel_layer.send("results", {**result, "event": "began"})
        await asyncio.sleep(job["seconds"])
        if job.get("fails"):
            raise ArithmeticError("a job that fails")
        await self.channel_layer.send("results", {**result, "event": "ended"})


class Blocking(SyncConsumer):  # type: ignore[misc]
    """Jobs that block a thread."""

    def job(self, job: dict[str, Any]) -> None:
        """Take `seconds`."""
        result = {"type": "result", "number": job["number"], "worker": os.getpid()}
        async_to_sync(self.channel_layer.send)("results", {**result, "event": "began"})
        time.sleep(job["seconds"])
        async_to_sync(self.channel_layer.send)("results", {**result, "event": "ended"})


application = ProtocolTypeRouter(
    {"channel": ChannelNameRouter({"jobs": Jobs.as_asgi(), "blocking": Blocking.as_asgi()})}
)
