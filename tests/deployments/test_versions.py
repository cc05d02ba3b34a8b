"""Servers of several versions; one that is too old is an error that says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from asgiref.sync import async_to_sync
from redis.exceptions import ResponseError

from embedded_server import HOST
from fuzz.replies import HostileServer
from support.messages import within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from embedded_server import EmbeddedServer
    from support.layers import LayerClass, Layers


def as_redis_4(words: list[bytes]) -> bytes:
    """Reply as Redis 4.0 does to what it does not know; no package has it any more."""
    command, *more = (word.upper() for word in words)
    if command == b"CLIENT" and more[0] != b"SETINFO":
        return b"+OK\r\n"
    return b"-ERR unknown command '%b'\r\n" % words[0]


@pytest_asyncio.fixture
async def old_server(redis_server: EmbeddedServer) -> AsyncIterator[HostileServer]:
    """Yield a server that is too old."""
    old = await HostileServer(redis_server.port).start()
    old.answer = as_redis_4
    yield old
    await old.close()


async def test_server_that_is_too_old(
    old_server: HostileServer, layer_class: LayerClass, layers: Layers
) -> None:
    """Sending and receiving raise at once an error with the lowest version."""
    host = {"host": HOST, "port": old_server.port, "socket_timeout": 60}
    layer, other = (layers(layer_class, host) for _ in range(2))
    message = {"type": "work"}
    for attempt in (
        layer.send("jobs", message),
        layer.receive("jobs"),
        asyncio.to_thread(async_to_sync(other.send), "jobs", message),
    ):
        with pytest.raises(ResponseError, match=r"use Redis 5\.0"):
            await within(attempt)
