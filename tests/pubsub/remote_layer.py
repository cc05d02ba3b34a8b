"""A Pub/Sub layer in a process of its own, whose methods a test calls."""

from __future__ import annotations

import asyncio

from channels_redis_pubsub import RedisPubSubChannelLayer
from support.worker import answer_calls, arguments


async def main() -> None:
    """Answer one call after the other."""
    await answer_calls(RedisPubSubChannelLayer(**arguments()))


asyncio.run(main())
