"""Uses both layers in one process, each with the shared module that it carries; prints what it saw.

Runs in an environment of its own. Its argument is the URL of a server and a prefix.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import import_module
from typing import Any

LAYERS = {
    "channels_redis_pubsub": "RedisPubSubChannelLayer",
    "channels_redis_queue": "RedisChannelLayer",
}


async def pass_message(layer: Any) -> str:
    """Pass a group message through a layer; return its text."""
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    await layer.group_send("room", {"type": "chat.message", "text": type(layer).__name__})
    text: str = (await asyncio.wait_for(layer.receive(channel), timeout=20))["text"]
    return text


async def main(url: str, prefix: str) -> dict[str, Any]:
    """Use both layers at once, on one server; return what is to be seen of each."""
    layers = {
        name: getattr(import_module(name), layer)(hosts=[url, url], prefix=f"{prefix}{name}")
        for name, layer in LAYERS.items()
    }
    texts = await asyncio.gather(*(pass_message(layer) for layer in layers.values()))
    for layer in layers.values():
        await layer.close_pools()
    return {
        "texts": texts,
        "shards": {
            name: import_module(f"{name}._shared.transport.commands").shard_of("key_one", 2)
            for name in LAYERS
        },
    }


print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
