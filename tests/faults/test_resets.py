"""Connections that are reset while nothing is on its way, as firewalls and crashed hosts do it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from channels_redis_shared.config.hosts import parse_hosts
from channels_redis_shared.transport.connector import Connector
from channels_redis_shared.transport.pipeline import AutoPipeline
from channels_redis_shared.transport.sentinel import find_master
from support import inside
from support.messages import within
from support.queue_layers import Layers, nothing_else

if TYPE_CHECKING:
    from support.proxy import TcpProxy


ROUNDS = 5


def reset_all(server: socket.socket) -> None:
    """Answer the first command of each connection, and reset it, until the server is closed."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            connection.recv(1000)
            connection.sendall(b"+OK\r\n")
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


async def test_idle_command_connection(proxy: TcpProxy) -> None:
    """Nothing was written on it: what comes next goes on a new one, however soon it comes."""
    (host,) = parse_hosts([proxy.url])
    pipeline = AutoPipeline(Connector(host))
    for count in range(1, ROUNDS):
        assert await within(pipeline.execute(("INCR", "n"), key="n")) == count
        transport = inside.transport_of(pipeline)
        proxy.reset()
        # Each turn: uvloop closes its transport some turns before it says so.
        while not transport.is_closing():
            await asyncio.sleep(0)
    await pipeline.close()


async def test_sentinel_that_goes_as_it_is_asked() -> None:
    """It is away like any other, so that a receiver asks again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=reset_all, args=(server,), daemon=True).start()
        address = server.getsockname()
        (host,) = parse_hosts([{"sentinels": [address], "master_name": "mymaster"}])
        for _ in range(50):
            with pytest.raises(RedisConnectionError):
                await within(find_master(host))
        server.shutdown(socket.SHUT_RDWR)  # ends the thread


@pytest.mark.slow
async def test_slow_network(own_layers: Layers, proxy: TcpProxy) -> None:
    """A backlog that takes longer than any deadline arrives, over the one connection, and once."""
    sender = own_layers()
    proxy.throttle(400_000)
    layer = own_layers(hosts=[proxy.url])
    channel = await layer.new_channel()
    for number in range(4):  # 3.2 MB, for which this network needs 8 s
        await within(sender.send(channel, {"number": number, "padding": "x" * 800_000}))
    numbers = [(await within(layer.receive(channel), 60))["number"] for _ in range(4)]
    assert numbers == list(range(4))
    assert layer.statistics().reconnects == 0
    await nothing_else(layer, channel)
