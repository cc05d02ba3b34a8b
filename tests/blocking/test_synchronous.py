"""Synchronous callers, each call of which has an event loop of its own."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import redis
from asgiref.sync import async_to_sync
from django.utils.module_loading import import_string

from blocking.conftest import all_closed
from support.messages import joined, within

if TYPE_CHECKING:
    from blocking.conftest import RunProgram
    from embedded_server import EmbeddedServer


@pytest.mark.parametrize("threads", [1, 16])
async def test_calls_share_connections(
    own_server: EmbeddedServer, layer_class: str, threads: int
) -> None:
    """A thousand calls open one connection at most, and lose and reorder nothing."""
    layer = import_string(layer_class)(hosts=[own_server.url], capacity=1000)
    channel = await layer.new_channel()
    first = asyncio.ensure_future(layer.receive(channel))  # which opens a connection
    await asyncio.sleep(0)
    await layer.group_add("room", channel)
    share = 992 // threads

    def call(caller: int) -> None:
        for number in range(share):
            message = {"type": "hello", "caller": caller, "number": number}
            async_to_sync(layer.group_send)("room", message)

    with own_server.client() as client, ThreadPoolExecutor(threads) as pool:
        before = client.info("stats")["total_connections_received"]
        calls = [pool.submit(call, caller) for caller in range(threads)]
        got = [await first]
        got += [await within(layer.receive(channel)) for _ in range(threads * share - 1)]
        for done in calls:
            done.result()
        assert client.info("stats")["total_connections_received"] - before <= 1
    for caller in range(threads):
        numbers = [message["number"] for message in got if message["caller"] == caller]
        assert numbers == list(range(share))
    await layer.close_pools()
    await all_closed(own_server)


async def test_overlapping_calls_arrive_in_order(
    own_server: EmbeddedServer, layer_class: str
) -> None:
    """Calls of a short-lived loop arrive in the order of their beginnings.

    They begin some turns of the loop after each other, while the server stands still.
    """
    layer = import_string(layer_class)(hosts=[own_server.url], capacity=1000)
    channel = await joined(layer, "room")

    async def overlap(loop: int) -> None:
        own_server.pause()
        calls = []
        for number in range(4 * loop, 4 * loop + 4):
            message = {"type": "hello", "number": number}
            calls.append(asyncio.ensure_future(layer.group_send("room", message)))
            for _ in range(loop % 6):
                await asyncio.sleep(0)
        own_server.resume()
        await asyncio.gather(*calls)

    for loop in range(60):
        await asyncio.to_thread(asyncio.run, overlap(loop))
    got = [(await within(layer.receive(channel)))["number"] for _ in range(240)]
    assert got == list(range(240))
    await layer.close_pools()


def test_limits_of_a_call(own_server: EmbeddedServer, layer_class: str) -> None:
    """A host's limits bound calls to a silent server: on an open connection, and to open one."""
    limits = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}
    layer = import_string(layer_class)(hosts=[{"address": own_server.url, **limits}])
    send = async_to_sync(layer.group_send)
    send("room", {"type": "hello"})
    own_server.pause()
    try:
        for _ in ("open", "opening"):
            began = time.monotonic()
            with pytest.raises(redis.TimeoutError):
                send("room", {"type": "hello"})
            assert time.monotonic() - began < 4
    finally:
        own_server.resume()
    send("room", {"type": "hello"})
    async_to_sync(layer.close_pools)()


async def test_no_descriptors(run_program: RunProgram, own_server: EmbeddedServer) -> None:
    """A call that may open no connection fails, and the next one works when it may."""
    assert run_program("no_descriptors") == ["no connection", "sent"]
    await all_closed(own_server)
