"""What calls that need no courier leave as it was: order, errors, recovery, connections."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync
from django.utils.module_loading import import_string
from redis.exceptions import NoPermissionError, RedisError

from callers.conftest import LAYERS, all_closed
from servers.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from callers.conftest import RunProgram
    from embedded_server import EmbeddedServer

HELLO = {"type": "hello"}


@pytest.fixture
def layer(own_server: EmbeddedServer, layer_class: str) -> Iterator[Any]:
    """Give a layer at a server of its own, whose channels hold one message."""
    layer = import_string(layer_class)(hosts=[own_server.url], capacity=1)
    yield layer
    async_to_sync(layer.close_pools)()


def send(layer: Any, channel: str) -> None:
    """Send from code without a loop."""
    async_to_sync(layer.send)(channel, HELLO)


def test_one_thread_needs_one_connection(own_server: EmbeddedServer, layer: Any) -> None:
    """Calls of one thread share a connection, and count as commands and round trips."""
    with own_server.client() as client:
        before = client.info("stats")["total_connections_received"]
        for number in range(50):
            send(layer, f"channel{number}")
        assert client.info("stats")["total_connections_received"] - before == 1
    found = layer.statistics()
    assert (found.sent, found.commands, found.round_trips, found.reconnects) == (50, 50, 50, 0)
    async_to_sync(layer.close_pools)()
    asyncio.run(all_closed(own_server))


def test_busy(own_server: EmbeddedServer, layer: Any) -> None:
    """While one call waits for the server, those of other threads go as well, and none twice."""
    send(layer, "before")
    names = [f"channel{number}" for number in range(8)]
    with own_server.client() as client, ThreadPoolExecutor(8) as threads:
        before = client.info("stats")["total_connections_received"]
        own_server.pause()
        try:
            calls = [threads.submit(send, layer, name) for name in names]
        finally:
            own_server.resume()
        for call in calls:
            call.result(20)
        assert client.info("stats")["total_connections_received"] - before <= 1
    assert layer.statistics().sent == 9


def test_cancelled_call(own_server: EmbeddedServer, layer: Any) -> None:
    """A reply that comes after its call was cancelled reaches no other call."""
    for name in ("full", "before"):
        send(layer, name)
    own_server.pause()
    try:
        with pytest.raises(asyncio.TimeoutError):
            # With the queue layer, the reply says that the channel is full.
            asyncio.run(asyncio.wait_for(layer.send("full", HELLO), 0.3))
    finally:
        # The next call waits for its own reply when that of the first comes.
        end = threading.Timer(0.3, own_server.resume)
        end.start()
    send(layer, "other")
    end.join()
    send(layer, "another")


def test_loop_that_ends_amid_a_call(own_server: EmbeddedServer, layer: Any) -> None:
    """Nor does one that comes after the loop of its call was closed."""
    send(layer, "full")
    own_server.pause()
    try:
        loop = asyncio.new_event_loop()
        call = loop.create_task(layer.send("full", HELLO))
        loop.run_until_complete(asyncio.wait([call], timeout=0.3))
        assert not call.done()
        call.cancel()
        loop.run_until_complete(asyncio.wait([call]))
        loop.close()
    finally:
        end = threading.Timer(0.3, own_server.resume)
        end.start()
    send(layer, "other")
    end.join()
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


def test_outage_is_one_reconnect(own_server: EmbeddedServer, layer_class: str) -> None:
    """One connection takes the place of the lost one, however many calls failed between."""
    layer = import_string(layer_class)(
        hosts=[{"address": own_server.url, "socket_timeout": 0.5, "socket_connect_timeout": 0.5}]
    )
    send(layer, "before")
    own_server.stop()
    for _ in range(2):
        with pytest.raises(RedisError):
            send(layer, "channel")
    own_server.restart()
    send(layer, "channel")
    assert layer.statistics().reconnects == 1
    async_to_sync(layer.close_pools)()


def test_loop_that_is_closed_bare_keeps_nobody_busy(own_server: EmbeddedServer) -> None:
    """A call that nobody waits for any more is forgotten when it is done."""
    layer = import_string(LAYERS["queue"])(hosts=[own_server.url])
    courier = import_string("channels_redis_queue._shared.courier.courier")
    async_to_sync(layer.group_add)("room", "channel")
    own_server.pause()
    try:
        loop = asyncio.new_event_loop()
        call = loop.create_task(layer.group_add("room", "another"))
        loop.run_until_complete(asyncio.wait([call], timeout=0.2))
        is_busy = courier.get().is_busy
        loop.close()
        # It would complain that it was destroyed.
        call._log_destroy_pending = False  # type: ignore[attr-defined]
        del call, loop
    finally:
        own_server.resume()
    assert is_busy
    asyncio.run(eventually(lambda: not courier.get().is_busy))
    async_to_sync(layer.close_pools)()


def test_failover(own_server: EmbeddedServer) -> None:
    """A call that finds a replica waits until there is a master again."""
    layer = import_string(LAYERS["queue"])(hosts=[own_server.url])
    send(layer, "before")
    with own_server.client() as client:
        client.replicaof("127.0.0.1", "1")
        end = threading.Timer(0.5, client.replicaof, ("NO", "ONE"))
        end.start()
        send(layer, "channel")
        end.join()
    assert layer.statistics().sent == 2
    async_to_sync(layer.close_pools)()


def test_errors(own_server: EmbeddedServer, layer: Any) -> None:
    """What the server refuses is raised, and the next call succeeds."""
    send(layer, "before")
    with own_server.client() as client:
        client.acl_setuser("default", enabled=True, commands=["-evalsha", "-eval", "-publish"])
        with pytest.raises(NoPermissionError):
            send(layer, "channel")
        client.acl_setuser("default", enabled=True, commands=["+evalsha", "+eval", "+publish"])
    send(layer, "channel")


async def test_order(run_program: RunProgram, own_server: EmbeddedServer) -> None:
    """Calls that overlap in a loop that does not last arrive in the order of their beginnings."""
    assert run_program("overlapping", str(own_server.pid)) == ["in order True"]
    await all_closed(own_server)
