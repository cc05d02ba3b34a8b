"""The memory that calls of synchronous code take."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from asgiref.sync import async_to_sync

from channels_redis_queue import RedisChannelLayer

if TYPE_CHECKING:
    from embedded_server import EmbeddedServer


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
