"""Both layers, and what tests of either do with them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import pytest
import pytest_asyncio
from asgiref.sync import async_to_sync
from redis.exceptions import RedisError

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from support.messages import within
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from embedded_server import EmbeddedServer
    from support.messages import Message

Layer: TypeAlias = RedisChannelLayer | RedisPubSubChannelLayer
LayerClass: TypeAlias = type[RedisChannelLayer] | type[RedisPubSubChannelLayer]
L = TypeVar("L", bound=Layer)

LAYERS: tuple[LayerClass, ...] = (RedisChannelLayer, RedisPubSubChannelLayer)


class ClosedLayers(Generic[L]):
    """Layers with some options in common, closed after the test."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self._made: list[L] = []

    def make(self, layer_class: Callable[..., L], **options: Any) -> L:
        """Return a new layer; `options` go before the common ones."""
        layer = layer_class(**{**self.options, **options})
        self._made.append(layer)
        return layer

    async def close(self) -> None:
        """Close what the layers have open in this event loop."""
        await within(asyncio.gather(*(layer.close_pools() for layer in self._made)))


class LayersOf(ClosedLayers[L]):
    """Layers of one class; those of the fixtures have a server."""

    layer_class: Callable[..., L]
    server: EmbeddedServer

    def __call__(self, **options: Any) -> L:
        """Return a new layer; `options` go before the common ones."""
        return self.make(type(self).layer_class, **options)


def fixtures_of(layers_class: type[LayersOf[L]]) -> tuple[Any, Any]:
    """Return the fixtures `layers` and `own_layers` of one layer's tests."""

    @pytest_asyncio.fixture
    async def layers(
        servers_first: None,  # noqa: ARG001
        redis_server: EmbeddedServer,
        prefix: str,
    ) -> AsyncIterator[LayersOf[L]]:
        """Yield a maker of layers on the server that all tests share."""
        made = layers_class(hosts=[redis_server.url], prefix=prefix)
        made.server = redis_server
        yield made
        await made.close()

    @pytest_asyncio.fixture
    async def own_layers(own_server: EmbeddedServer) -> AsyncIterator[LayersOf[L]]:
        """Yield a maker of layers on a server of the test's own."""
        made = layers_class(hosts=[own_server.url])
        made.server = own_server
        yield made
        await made.close()

    return layers, own_layers


class Layers(ClosedLayers[Any]):
    """Layers of any class, for any hosts."""

    def __call__(self, layer_class: LayerClass, *hosts: object, **options: Any) -> Any:
        """Return a new layer for the hosts; `options` go before the common ones."""
        return self.make(layer_class, hosts=hosts, **options)


@pytest_asyncio.fixture
async def layers(servers_first: None, prefix: str) -> AsyncIterator[Layers]:  # noqa: ARG001
    """Yield a maker of layers with a prefix of their own, which are closed after the test."""
    made = Layers(prefix=prefix)
    yield made
    await made.close()


@pytest.fixture(params=LAYERS, ids=lambda layer: layer.__name__)
def layer_class(request: pytest.FixtureRequest) -> LayerClass:
    """Return each of the two layers' classes in turn."""
    chosen: LayerClass = request.param
    return chosen


@pytest_asyncio.fixture
async def make_layer(
    own_server: EmbeddedServer, layer_class: LayerClass
) -> AsyncIterator[Callable[..., Any]]:
    """Yield a maker of layers of each class on the test's own server, closed after the test."""
    made = Layers(hosts=[own_server.url])
    yield partial(made.make, layer_class)
    await made.close()


async def succeeds(call: Callable[[], Awaitable[object]]) -> bool:
    """Make a call; return whether it raised no error of Redis."""
    try:
        await call()
    except RedisError:
        return False
    return True


async def reaches(
    receiving: asyncio.Future[Message], send: Callable[[], Awaitable[None]]
) -> Message:
    """Send until a message is received, and return it: an outage ends only for later ones."""

    async def arrived() -> bool:
        await succeeds(send)
        await asyncio.wait([receiving], timeout=0.1)
        return receiving.done()

    await eventually(arrived, timeout=30)
    return receiving.result()


async def works(layers: Layers, layer_class: LayerClass, *hosts: object, **options: Any) -> None:
    """Check that two layers, as those of two processes are, reach each other both ways.

    A direct message, one to a group, one to a member of another layer, and one of synchronous code
    go through.
    """
    here, there = (layers(layer_class, *hosts, **options) for _ in range(2))
    channel = await within(here.new_channel())
    await within(there.send(channel, {"type": "direct"}))
    assert await within(here.receive(channel)) == {"type": "direct"}
    await within(here.group_add("group", channel))
    await within(there.group_send("group", {"type": "grouped"}))
    assert await within(here.receive(channel)) == {"type": "grouped"}
    waiting = asyncio.ensure_future(here.receive(channel))
    await within(there.group_send("group", {"type": "awaited"}))
    assert await within(waiting) == {"type": "awaited"}
    await within(here.group_discard("group", channel))
    await within(there.group_send("group", {"type": "missed"}))
    send = async_to_sync(there.send)
    await within(asyncio.to_thread(send, channel, {"type": "last"}))
    assert await within(here.receive(channel)) == {"type": "last"}
