"""Calls of synchronous code: the memory that they take, and a Cluster that changes."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from asgiref.sync import async_to_sync

from channels_redis_queue import RedisChannelLayer
from support.queue_layers import beside

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer
    from support.cluster import EmbeddedCluster


def test_calls_leave_nothing_behind(own_server: EmbeddedServer) -> None:
    """Each call has its own thread and event loop, and keeps no memory after them."""

    def answer() -> None:
        channel = async_to_sync(layer.new_channel)()
        async_to_sync(layer.send)(channel, {"type": "hello"})
        assert async_to_sync(layer.receive)(channel) == {"type": "hello"}

    def kept() -> int:
        # Not all objects: those of other tests and of what measures coverage come and go.
        gc.collect()
        modules = (str(type(each).__module__) for each in gc.get_objects())
        return sum(module.startswith("channels_redis") for module in modules)

    layer = RedisChannelLayer([own_server.url])
    for _ in range(3):
        answer()
    before = kept()
    for _ in range(50):
        answer()
    # The name of each channel stays valid, with its keys and its destination.
    assert kept() - before <= 2 * 50
    async_to_sync(layer.close_pools)()


def test_slot_that_moves_between_calls(redis_cluster: EmbeddedCluster, prefix: str) -> None:
    """The background loop follows it: what both calls have sent arrives once, in order."""
    layer = RedisChannelLayer([redis_cluster.host], prefix=prefix)
    for number in range(2):
        async_to_sync(layer.send)("jobs", {"type": "x", "number": number})
        redis_cluster.move(beside(layer, "jobs").key)
    async_to_sync(layer.send)("jobs", {"type": "x", "number": 2})
    received = [async_to_sync(layer.receive)("jobs")["number"] for _ in range(3)]
    assert received == [0, 1, 2]
    async_to_sync(layer.close_pools)()
