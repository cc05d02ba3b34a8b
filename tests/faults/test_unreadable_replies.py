"""Replies about a server itself that no server should send."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from asgiref.sync import async_to_sync
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

from channels_redis_queue import RedisChannelLayer
from channels_redis_queue._shared.transport.sentinel import find_master
from embedded_server import HOST
from fuzz.hostile import resp
from fuzz.replies import HostileServer
from support import inside
from support.messages import within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from embedded_server import EmbeddedServer

NAME, IP, PORT, FLAGS = b"name", b"ip", b"port", b"flags"


@pytest_asyncio.fixture
async def hostile_server(redis_server: EmbeddedServer) -> AsyncIterator[HostileServer]:
    """Yield a server whose replies a test chooses."""
    server = await HostileServer(redis_server.port).start()
    yield server
    await server.close()


@pytest.mark.parametrize(
    "reply",
    [
        b":7\r\n",
        b"$-1\r\n",
        b"%1\r\n*0\r\n*0\r\n",
        b"-MOVED\r\n",
        resp([[[], b"main"]]),
        resp([[NAME, b"main"]]),
        resp([[NAME, b"main", IP, b"10.0.0.1", PORT, b"x", FLAGS, b"master"]]),
        resp([[NAME, b"main", IP, b"10.0.0.1", PORT, b"70000", FLAGS, b"master"]]),
        resp([[NAME, b"main", IP, b"10.0.0.1", PORT, b"1", FLAGS, 5]]),
        resp([[NAME, b"\xff", IP, b"10.0.0.1", PORT, b"1", FLAGS, b"master"]]),
    ],
    ids=repr,
)
async def test_sentinel(hostile_server: HostileServer, reply: bytes) -> None:
    """A Sentinel that can't be understood counts as one that can't be reached."""
    hostile_server.answer = lambda words: reply if words[0] == b"SENTINEL" else None
    sentinels = [(HOST, hostile_server.port)]
    layer: Any = RedisChannelLayer(hosts=[{"sentinels": sentinels, "master_name": "main"}])
    with pytest.raises(RedisConnectionError, match=r"Asking the Sentinel .* failed"):
        await find_master(inside.connector(layer).host)


@pytest.mark.parametrize(
    "reply",
    [
        resp([[], 1, b"version", 5]),
        resp([b"version", b"\xff" * 3]),
        resp([b"version", b"9" * 5000]),
        resp([b"version", b"7.0", b"mode", []]),
    ],
    ids=["list as a name", "no text", "5000 digits", "list as a mode"],
)
async def test_hello(hostile_server: HostileServer, reply: bytes) -> None:
    """A server that doesn't tell its version in words can be used."""
    hostile_server.answer = lambda words: reply if words == [b"HELLO"] else None
    layer = RedisChannelLayer(hosts=[f"redis://{HOST}:{hostile_server.port}"])
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "hello"})
    assert await layer.receive(channel) == {"type": "hello"}
    await layer.close_pools()


@pytest.mark.parametrize(
    "reply",
    [b"%1\r\n*0\r\n*0\r\n", b"-MOVED\r\n", b"-ASK 1 2 3\r\n"],
    ids=["list as a key", "redirect to nowhere", "redirect to two places"],
)
async def test_reply_that_is_none(hostile_server: HostileServer, reply: bytes) -> None:
    """It is an error of redis-py, not of Python."""
    hostile_server.answer = lambda words: reply if words == [b"HELLO"] else None
    layer: Any = RedisChannelLayer(hosts=[f"redis://{HOST}:{hostile_server.port}"])
    with pytest.raises(InvalidResponse, match="a reply can't be read"):
        await inside.connector(layer).open()


async def test_reply_that_redis_py_cannot_read(hostile_server: HostileServer) -> None:
    """Nor is it one of Python for synchronous callers."""
    hostile_server.answer = lambda words: b"-MOVED\r\n" if words[0] == b"EVALSHA" else None
    layer = RedisChannelLayer(hosts=[f"redis://{HOST}:{hostile_server.port}"])
    work = "jobs", {"type": "work"}
    for call in (layer.send(*work), asyncio.to_thread(async_to_sync(layer.send), *work)):
        with pytest.raises(InvalidResponse, match="a reply can't be read"):
            await within(call)
    await layer.close_pools()
