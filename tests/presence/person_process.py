"""A process that has people in groups until it is killed."""

from __future__ import annotations

import asyncio
from typing import Any

from channels.layers import channel_layers
from django.conf import settings
from django.utils.module_loading import import_string

from channels_redis_queue._shared.presence import shard
from channels_redis_queue.presence import Presence
from support.worker import arguments, async_requests, reply


async def main() -> None:
    """Track people as the test says."""
    given: dict[str, Any] = arguments()
    settings.configure()
    shard.BEAT_INTERVAL = given.pop("interval")
    layer = import_string(given.pop("layer"))(**given)
    channel_layers.set("default", layer)
    presence = Presence(grace=0.5)
    async for request in async_requests():
        channel = await layer.new_channel()
        # More than one person has a channel here, which costs the layer less than as many channels.
        await asyncio.gather(
            *(
                presence.track(group, f"{channel}{key}", key)
                for group in request["groups"]
                for key in request["keys"]
            )
        )
        reply(tracked=True)


asyncio.run(main())
