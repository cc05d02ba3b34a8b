"""Layers on Redis Clusters, closed after each test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import pytest_asyncio

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from servers.cluster import EmbeddedCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

Layer = RedisChannelLayer | RedisPubSubChannelLayer


class MakeLayer(Protocol):
    """Makes a layer that the test need not close."""

    def __call__(self, layer_class: type[Layer], **options: Any) -> Any:
        """Return a layer with these options."""


@pytest.fixture
def replicated_cluster() -> Iterator[EmbeddedCluster]:
    """Give a cluster of the test's own: three masters, each with a replica."""
    with EmbeddedCluster(replicas=1) as cluster:
        yield cluster


@pytest_asyncio.fixture
async def make_layer(prefix: str) -> AsyncIterator[MakeLayer]:
    """Give a maker of layers with a prefix of their own."""
    made: list[Layer] = []

    def make(layer_class: Callable[..., Layer], **options: Any) -> Layer:
        layer = layer_class(**{"prefix": prefix, **options})
        made.append(layer)
        return layer

    yield make
    await asyncio.wait_for(asyncio.gather(*(layer.close_pools() for layer in made)), 30)
