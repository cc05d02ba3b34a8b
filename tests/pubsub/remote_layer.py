"""A Pub/Sub layer in a process of its own, whose methods a test calls."""

from __future__ import annotations

import asyncio

from channels_redis_pubsub import RedisPubSubChannelLayer
from support.worker import arguments, async_requests, reply


async def main() -> None:
    """Execute one call after the other."""
    layer = RedisPubSubChannelLayer(**arguments())
    async for request in async_requests():
        method = getattr(layer, request["method"])
        reply(result=await method(*request["arguments"]))


asyncio.run(main())
