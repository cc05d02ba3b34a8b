"""Synchronous callers, each call of which has an event loop: order, errors, connections."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from redis.exceptions import ConnectionError as RedisConnectionError

from support.counting import count_commands
from support.messages import joined, within
from support.proxy import TcpProxy
from support.waiting import all_closed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from embedded_server import EmbeddedServer
    from support.layers import LayerClass

HELLO = {"type": "hello"}


@pytest.fixture
def layer(make_layer: Callable[..., Any]) -> Any:
    """Return a layer with a capacity of one message."""
    return make_layer(capacity=1)


@contextlib.contextmanager
def paused(server: EmbeddedServer) -> Iterator[None]:
    """Let the server answer nothing in the block."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


def send(layer: Any, channel: str) -> None:
    """Send from code without a loop."""
    async_to_sync(layer.send)(channel, HELLO)


def test_one_thread_needs_one_connection(own_server: EmbeddedServer, layer: Any) -> None:
    """Calls of one thread share it, those of a view below asynchronous middleware as well."""

    async def middleware(channel: str) -> None:
        await sync_to_async(send)(layer, channel)

    with count_commands(own_server) as counted:
        for number in range(50):
            send(layer, f"channel{number}")
        for number in range(3):
            async_to_sync(middleware)(f"below{number}")
            asyncio.run(middleware(f"run{number}"))
    assert counted.connections == 1
    found = layer.statistics()
    assert (found.sent, found.commands, found.round_trips, found.reconnects) == (56, 56, 56, 0)
    async_to_sync(layer.close_pools)()
    asyncio.run(all_closed(own_server))


def test_cancelled_call(own_server: EmbeddedServer, layer: Any) -> None:
    """A reply that comes after its call was cancelled reaches no other call."""
    for name in ("full", "before"):
        send(layer, name)
    own_server.pause()
    with pytest.raises(asyncio.TimeoutError):
        # With the queue layer, the reply says that the channel is full.
        asyncio.run(asyncio.wait_for(layer.send("full", HELLO), 0.3))
    # The next call waits for its own reply when that of the first comes.
    threading.Timer(0.3, own_server.resume).start()
    send(layer, "other")
    send(layer, "another")


@pytest.mark.parametrize("what", ["restart", "script flush", "client kill"])
def test_recovery(own_server: EmbeddedServer, layer: Any, what: str) -> None:
    """The first call after the server has lost the connection, or the scripts, succeeds."""
    send(layer, "before")
    if what == "restart":
        own_server.kill()
        own_server.restart(empty=True)
    else:
        with own_server.client() as client:
            if what == "script flush":
                client.script_flush()
            else:
                client.client_kill_filter(_type="normal", skipme=True)
    for number in range(3):
        send(layer, f"channel{number}")
    assert layer.statistics().sent == 4
    if what != "script flush":
        assert layer.statistics().reconnects == 1


@pytest.mark.parametrize("lose", [TcpProxy.forget, TcpProxy.stall])
async def test_forgotten_connection(
    proxy: TcpProxy,
    make_layer: Callable[..., Any],
    layer_class: LayerClass,
    lose: Callable[[TcpProxy], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection that a middlebox may have forgotten carries no message."""
    module = f"{layer_class.__module__.partition('.')[0]}._shared.background.LOOK_INTERVAL"
    monkeypatch.setattr(module, 0.1)
    layer = make_layer(hosts=[proxy.url])
    await asyncio.to_thread(send, layer, "before")
    lose(proxy)
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await asyncio.to_thread(send, layer, "channel")
    assert time.monotonic() - began < 4
    assert (layer.statistics().sent, layer.statistics().reconnects) == (2, 0)


async def test_server_that_closes_a_new_connection(
    proxy: TcpProxy, make_layer: Callable[..., Any]
) -> None:
    """A connection that ends before it could be used fails no call."""
    proxy.forget(new=3)
    layer = make_layer(hosts=[proxy.url])
    await asyncio.to_thread(send, layer, "channel")
    assert layer.statistics().sent == 1
    assert len(proxy.connections) > 3


async def test_lost_reply(proxy: TcpProxy, make_layer: Callable[..., Any]) -> None:
    """A message that was written and may have been sent is not sent again."""
    layer = make_layer(hosts=[proxy.url])
    await asyncio.to_thread(send, layer, "before")
    # In use until just now, so that it is not replaced.
    proxy.forget()
    with pytest.raises(RedisConnectionError):
        await asyncio.to_thread(send, layer, "channel")
    await asyncio.to_thread(send, layer, "channel")
    assert layer.statistics().sent == 2


def test_close_pools_leaves_calls_alone(own_server: EmbeddedServer, layer: Any) -> None:
    """Closing while another thread's call is under way does not break that call."""
    send(layer, "before")
    with ThreadPoolExecutor(1) as threads:
        with paused(own_server):
            call = threads.submit(send, layer, "channel")
            async_to_sync(layer.close_pools)()
        call.result(20)
    async_to_sync(layer.close_pools)()
    asyncio.run(all_closed(own_server))


async def test_threads_share_a_connection(
    own_server: EmbeddedServer, make_layer: Callable[..., Any]
) -> None:
    """A thousand calls open one connection at most, and lose and reorder nothing."""
    layer = make_layer(capacity=1000)
    channel = await layer.new_channel()
    first = asyncio.ensure_future(layer.receive(channel))  # which opens a connection
    await asyncio.sleep(0)
    await layer.group_add("room", channel)
    share = 62

    def call(caller: int) -> None:
        for number in range(share):
            async_to_sync(layer.group_send)("room", {**HELLO, "caller": caller, "number": number})

    with count_commands(own_server) as counted, ThreadPoolExecutor(16) as threads:
        calls = [threads.submit(call, caller) for caller in range(16)]
        got = [await first]
        got += [await within(layer.receive(channel)) for _ in range(16 * share - 1)]
        for done in calls:
            done.result()
    assert counted.connections <= 1
    for caller in range(16):
        numbers = [message["number"] for message in got if message["caller"] == caller]
        assert numbers == list(range(share))
    await layer.close_pools()
    await all_closed(own_server)


async def test_overlapping_calls_arrive_in_order(
    own_server: EmbeddedServer, make_layer: Callable[..., Any]
) -> None:
    """Calls of a short-lived loop arrive in the order of their beginnings.

    They begin some turns of the loop after each other, while the server stands still.
    """
    layer = make_layer(capacity=1000)
    channel = await joined(layer, "room")

    async def overlap(loop: int) -> None:
        with paused(own_server):
            calls = []
            for number in range(4 * loop, 4 * loop + 4):
                message = {**HELLO, "number": number}
                calls.append(asyncio.ensure_future(layer.group_send("room", message)))
                for _ in range(loop % 6):
                    await asyncio.sleep(0)
        await asyncio.gather(*calls)

    for loop in range(60):
        await asyncio.to_thread(asyncio.run, overlap(loop))
    got = [(await within(layer.receive(channel)))["number"] for _ in range(240)]
    assert got == list(range(240))
    await layer.close_pools()
