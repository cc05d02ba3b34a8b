"""Synchronous sends while the process may open no file, and when it may again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sys

import redis
from asgiref.sync import async_to_sync

from blocking.programs.setting import make_layer, say

FILES = 64
layer = make_layer(socket_timeout=0.5, socket_connect_timeout=0.5)


async def without_descriptors() -> None:
    """Send when all descriptors are taken: after the loop has its own, before a connection has."""
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    try:
        await layer.group_send("room", {"type": "hello"})
    finally:
        for descriptor in taken:
            os.close(descriptor)


# Python complains of an event loop that it could not make.
sys.unraisablehook = lambda _: None
resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
try:
    asyncio.run(without_descriptors())
except redis.ConnectionError:
    say("no connection")
async_to_sync(layer.group_send)("room", {"type": "hello"})
say("sent")
