"""The delay of the proxy. Tests would miss the other faults if they did not happen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import redis.asyncio

if TYPE_CHECKING:
    from support.proxy import TcpProxy


async def test_delays_both_ways(proxy: TcpProxy) -> None:
    """Each piece is held, on connections of before and after, until the delay ends."""
    loop = asyncio.get_running_loop()
    async with redis.asyncio.Redis.from_url(proxy.url) as before:
        await before.ping()
        proxy.delay(0.1)
        async with redis.asyncio.Redis.from_url(proxy.url) as after:
            for client in (before, after):
                began = loop.time()
                await client.ping()
                assert loop.time() - began >= 0.2
        proxy.delay(0)
        assert all(connection.delay == 0 for connection in proxy.open_connections)
