from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from embedded_server import EmbeddedServer
    from support.proxy import TcpProxy


def connect(proxy: TcpProxy) -> redis.asyncio.Redis:
    """Make a client with one connection and no retries."""
    return redis.asyncio.Redis.from_url(
        proxy.url, single_connection_client=True, retry=Retry(NoBackoff(), 0)
    )


async def stays_silent(work: Awaitable[object]) -> bool:
    """Say whether ``work`` is still waiting after a while."""
    _, waiting = await asyncio.wait([asyncio.ensure_future(work)], timeout=0.3)
    for task in waiting:
        task.cancel()
    return bool(waiting)


def get(server: EmbeddedServer, key: str) -> bytes | None:
    """Read a key past the proxy."""
    with server.client() as client:
        value: bytes | None = client.get(key)
    return value


async def test_counts_connections_and_round_trips(proxy: TcpProxy) -> None:
    """Commands in one write are one round trip, commands one by one are one each."""
    first, second = (redis.asyncio.Connection(port=proxy.port) for _ in range(2))
    await first.connect()
    await second.connect()
    before = proxy.round_trips
    for connection in (first, second):
        await connection.send_command("PING")
        await connection.read_response()
    assert proxy.round_trips - before == 2
    await first.send_packed_command(first.pack_commands([("SET", "key", n) for n in range(10)]))
    for _ in range(10):
        await first.read_response()
    assert proxy.round_trips - before == 3
    assert len(proxy.open_connections) == 2
    await first.disconnect()
    await second.disconnect()
    await eventually(lambda: not proxy.open_connections)
    assert len(proxy.connections) == 2


async def test_silence_of_requests(own_server: EmbeddedServer, proxy: TcpProxy) -> None:
    """Held requests don't reach the server until the proxy resumes."""
    async with connect(proxy) as client:
        await client.ping()
        proxy.stall(replies=False)
        setting = asyncio.ensure_future(client.set("key", "value"))
        assert await stays_silent(asyncio.shield(setting))
        assert get(own_server, "key") is None
        proxy.resume()
        assert await setting
    assert get(own_server, "key") == b"value"


def clients(server: EmbeddedServer) -> bytes:
    """Return the server's list of clients."""
    with server.client() as client:
        return repr(client.client_list()).encode()


async def test_lost_reply_then_cut(proxy: TcpProxy) -> None:
    """The command ran, the client gets an error, and the next command works."""
    async with connect(proxy) as client:
        await client.ping()
        loss = proxy.lose_reply(to=b"INCR")
        assert await client.get("number") is None
        assert not loss.happened.is_set()
        with pytest.raises(redis.ConnectionError):
            await client.incr("number")
        assert loss.happened.is_set()
        assert await client.incr("number") == 2


async def test_delays_both_ways(proxy: TcpProxy) -> None:
    """Each piece is held, on connections of before and after, until the delay ends."""
    loop = asyncio.get_running_loop()
    async with connect(proxy) as before:
        await before.ping()
        proxy.delay(0.1)
        async with connect(proxy) as after:
            for client in (before, after):
                began = loop.time()
                await client.ping()
                assert loop.time() - began >= 0.2
        proxy.delay(0)
        assert all(connection.delay == 0 for connection in proxy.open_connections)
