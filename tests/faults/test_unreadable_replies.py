"""Replies about a server itself that no server should send."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from asgiref.sync import async_to_sync
from redis.exceptions import InvalidResponse

from channels_redis_queue import RedisChannelLayer
from embedded_server import HOST
from fuzz.replies import HostileServer
from support.messages import within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from embedded_server import EmbeddedServer


@pytest_asyncio.fixture
async def hostile_server(redis_server: EmbeddedServer) -> AsyncIterator[HostileServer]:
    """Yield a server whose replies a test chooses."""
    server = await HostileServer(redis_server.port).start()
    yield server
    await server.close()


async def test_reply_that_redis_py_cannot_read(hostile_server: HostileServer) -> None:
    """Nor is it one of Python for synchronous callers."""
    hostile_server.answer = lambda words: b"-MOVED\r\n" if words[0] == b"EVALSHA" else None
    layer = RedisChannelLayer(hosts=[f"redis://{HOST}:{hostile_server.port}"])
    work = "jobs", {"type": "work"}
    for call in (layer.send(*work), asyncio.to_thread(async_to_sync(layer.send), *work)):
        with pytest.raises(InvalidResponse, match="a reply can't be read"):
            await within(call)
    await layer.close_pools()
