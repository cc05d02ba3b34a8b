"""Both layers, as the ones that consumers get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from channels.layers import channel_layers
from django.conf import settings

from broadcast.sites import Socket
from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from embedded_server import EmbeddedServer


@pytest.fixture(params=[RedisChannelLayer, RedisPubSubChannelLayer], ids=["queue", "pubsub"])
def make_layer(
    request: pytest.FixtureRequest, redis_server: EmbeddedServer, prefix: str
) -> Callable[..., Any]:
    """Return a function that makes layers of one kind that share messages."""

    def make(**options: Any) -> Any:
        return request.param(hosts=[redis_server.url], prefix=prefix, **options)

    return make


@pytest.fixture
def use_layer() -> Iterator[Callable[[Any], Any]]:
    """Yield a function that makes a layer the default of consumers."""
    if not settings.configured:
        settings.configure()
    before = channel_layers.backends.get("default")
    yield lambda layer: (channel_layers.set("default", layer), layer)[1]
    channel_layers.set("default", before)


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Callable[[Any], Socket]]:
    """Yield a function that connects WebSockets, which end with the test."""
    made: list[Socket] = []

    def open_socket(consumer: Any) -> Socket:
        made.append(Socket(consumer))
        return made[-1]

    yield open_socket
    for socket in made:
        await socket.stop()
