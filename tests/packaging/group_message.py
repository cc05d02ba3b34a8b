"""Passes a group message through the default channel layer of real Django settings.

Runs in a new environment. Its argument is the value of CHANNEL_LAYERS as JSON; it prints
the message that the group's member received.
"""

from __future__ import annotations

import asyncio
import json
import sys

from channels.layers import get_channel_layer
from django.conf import settings

settings.configure(CHANNEL_LAYERS=json.loads(sys.argv[1]))


async def main() -> None:
    """Join a group, send to it, print what comes."""
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    await layer.group_send("room", {"type": "chat.message", "text": "hello"})
    message = await asyncio.wait_for(layer.receive(channel), timeout=20)
    await layer.group_discard("room", channel)
    print(json.dumps(message))


asyncio.run(main())
