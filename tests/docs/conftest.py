"""The fixtures that the tests of the documentation share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest_asyncio

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from support.default_layer import default_layer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from embedded_server import EmbeddedServer


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
