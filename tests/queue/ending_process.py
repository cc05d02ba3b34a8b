"""A process that ends with members in a group: with its event loop stopped, or without one."""

from __future__ import annotations

import asyncio

from asgiref.sync import async_to_sync

from channels_redis_queue import RedisChannelLayer
from support.worker import arguments, reply, requests

given = arguments()
has_loop = given.pop("has_loop")
layer = RedisChannelLayer(**given)


async def join() -> str:
    """Become a member of the group, and receive."""
    channel: str = await layer.new_channel()
    await layer.group_add("room", channel)
    # Kept, as the loop is.
    join.receiver = asyncio.create_task(layer.receive(channel))  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    return channel


if has_loop:
    loop = asyncio.new_event_loop()
    reply(channel=loop.run_until_complete(join()))
else:
    name = async_to_sync(layer.new_channel)()
    async_to_sync(layer.group_add)("room", name)
    reply(channel=name)
for _ in requests():
    pass
