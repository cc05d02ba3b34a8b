"""The fixtures that the tests of the documentation share."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest_asyncio
from channels.testing import WebsocketCommunicator

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from support.default_layer import default_layer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from embedded_server import EmbeddedServer

DEADLINE = 30


class Connect(Protocol):
    """Opens WebSockets."""

    async def __call__(self, consumer: Any, **scope: Any) -> WebsocketCommunicator:
        """Open one to a consumer, with these additions to its scope."""


@pytest_asyncio.fixture(
    params=[RedisChannelLayer, RedisPubSubChannelLayer], ids=["queue", "pubsub"]
)
async def layer(
    request: pytest.FixtureRequest, redis_server: EmbeddedServer, prefix: str
) -> AsyncIterator[Any]:
    """Yield the site's layer, of each kind in turn."""
    with default_layer(request.param([redis_server.url], prefix=prefix)) as layer:
        yield layer
        await layer.close_pools()


@pytest_asyncio.fixture
async def connect(
    layer: Any,  # noqa: ARG001 - consumers take it
) -> AsyncIterator[Connect]:
    """Yield a coroutine function that opens WebSockets, which are closed after the test."""
    async with AsyncExitStack() as stack:

        async def open_socket(consumer: Any, **scope: Any) -> WebsocketCommunicator:
            socket = WebsocketCommunicator(consumer.as_asgi(), "/")
            socket.scope.update(scope)
            connected, _ = await socket.connect(timeout=DEADLINE)
            assert connected
            stack.push_async_callback(socket.disconnect, timeout=DEADLINE)
            return socket

        yield open_socket
