"""Synchronous callers of every kind of host, on the connections of the background loop."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from embedded_server import EmbeddedServer
    from support.cluster import EmbeddedCluster
    from support.layers import LayerClass
    from support.tls import TlsServer

CALLS = 80
THREADS = 16


@contextmanager
def made(layer_class: LayerClass, host: object, **options: Any) -> Iterator[Any]:
    """Yield a layer, and close its connections of synchronous callers."""
    layer = layer_class(hosts=[host], capacity=1000, **options)
    yield layer
    async_to_sync(layer.close_pools)()


def accepted(servers: Sequence[EmbeddedServer]) -> list[int]:
    """Return how many connections each server has accepted so far, without this one."""
    counts = []
    for server in servers:
        with server.client() as client:
            counts.append(client.info("stats")["total_connections_received"])
    return [count - 1 for count in counts]


def reach_a_consumer(
    layer_class: LayerClass, host: object, servers: Sequence[EmbeddedServer], **options: Any
) -> None:
    """Check that calls of many threads arrive, over one connection to each server."""
    joined = threading.Event()
    got: list[int] = []

    async def consume(layer: Any) -> None:
        channel = await layer.new_channel()
        receiving = asyncio.ensure_future(layer.receive(channel))
        await layer.group_add("room", channel)
        joined.set()
        while len(got) < CALLS:
            got.append((await receiving)["number"])
            receiving = asyncio.ensure_future(layer.receive(channel))
        receiving.cancel()

    with (
        made(layer_class, host, **options) as layer,
        made(layer_class, host, **options) as receiver,
        ThreadPoolExecutor(THREADS + 1) as threads,
    ):
        consumer = threads.submit(asyncio.run, consume(receiver))
        assert joined.wait(20)
        # What finds the master, or the nodes, opens connections of its own, and closes them.
        async_to_sync(layer.group_send)("empty", {"type": "hello"})
        before = accepted(servers)
        send = async_to_sync(layer.group_send)
        calls = [
            threads.submit(send, "room", {"type": "hello", "number": number})
            for number in range(CALLS)
        ]
        for call in calls:
            call.result(20)
        consumer.result(20)
        opened = [now - then for then, now in zip(before, accepted(servers), strict=True)]
        # The probe of `accepted` itself is one.
        assert all(count <= 1 + 1 for count in opened)
        assert layer.statistics().sent == CALLS + 1
    assert sorted(got) == list(range(CALLS))


def test_unix_socket(own_server: EmbeddedServer, layer_class: LayerClass) -> None:
    """A UNIX socket."""
    reach_a_consumer(layer_class, {"path": own_server.unix_socket}, [own_server])


def test_tls(tls_server: TlsServer, layer_class: LayerClass) -> None:
    """A server with TLS and a client's certificate."""
    reach_a_consumer(layer_class, tls_server.host, [tls_server.server])


@pytest.mark.parametrize(
    ("layer_class", "options"),
    [
        (RedisChannelLayer, {}),
        (RedisPubSubChannelLayer, {}),
        (RedisPubSubChannelLayer, {"history": {"room": {"size": 10, "ttl": 60}}}),
        (RedisPubSubChannelLayer, {"sharded_pubsub": True}),
    ],
    ids=["queue", "pubsub", "pubsub-history", "sharded-pubsub"],
)
def test_cluster(
    layer_class: LayerClass, options: dict[str, Any], redis_cluster: EmbeddedCluster, prefix: str
) -> None:
    """A Cluster: each key at its owner, a message of plain Pub/Sub at any node."""
    host = redis_cluster.host
    reach_a_consumer(layer_class, host, redis_cluster.nodes, prefix=prefix, **options)


def test_calls_leave_nothing_behind(own_server: EmbeddedServer) -> None:
    """Each call has a thread and an event loop of its own, and keeps no memory after them."""

    def answer() -> None:
        channel = async_to_sync(layer.new_channel)()
        async_to_sync(layer.send)(channel, {"type": "hello"})
        assert async_to_sync(layer.receive)(channel) == {"type": "hello"}

    def kept() -> int:
        # Not all objects: those of other tests and of what measures coverage come and go.
        gc.collect()
        modules = (str(type(each).__module__) for each in gc.get_objects())
        return sum(module.startswith("channels_redis") for module in modules)

    with made(RedisChannelLayer, own_server.url) as layer:
        for _ in range(3):
            answer()
        before = kept()
        for _ in range(50):
            answer()
        # The name of each channel stays valid, with its keys and its destination.
        assert kept() - before <= 2 * 50


def test_moved_slot(own_cluster: EmbeddedCluster) -> None:
    """A key whose slot has moved is found at its new owner."""
    with made(RedisChannelLayer, own_cluster.host) as layer:
        async_to_sync(layer.send)("jobs", {"type": "work"})
        target = own_cluster.move("asgijobs")
        async_to_sync(layer.send)("jobs", {"type": "work"})
        with target.client() as client:
            assert client.zcard("asgijobs") == 2
