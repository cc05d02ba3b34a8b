"""redis-py without its private attributes, as a later release may have it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio.connection
import redis.connection
from asgiref.sync import async_to_sync
from redis.exceptions import RedisError

from support.messages import joined, take, within

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded_server import EmbeddedServer

HELLO = {"type": "hello"}
# What `transport/redis_py.py` reads and can do without.
ATTRIBUTES = ["_reader", "_parser", "_connection_arguments"]


def hide(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Hide a private attribute of redis-py's connections from our own code."""

    def get(connection: object, wanted: str) -> Any:
        if wanted == name:
            module = sys._getframe(1).f_globals["__name__"]  # noqa: SLF001 - Python documents it
            if module.startswith("channels_redis"):
                raise AttributeError(wanted)
        return object.__getattribute__(connection, wanted)

    for owner in (redis.asyncio.connection.AbstractConnection, redis.connection.AbstractConnection):
        monkeypatch.setattr(owner, "__getattribute__", get)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
@pytest.mark.parametrize("protocol", [2, 3])
async def test_layer(
    own_server: EmbeddedServer,
    make_layer: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    attribute: str,
    protocol: int,
) -> None:
    """Messages arrive, of synchronous callers too, before and after all connections were closed."""
    hide(monkeypatch, attribute)
    layer = make_layer(hosts=[{"address": own_server.url, "protocol": protocol}])
    channel = await joined(layer, "room")
    for _ in range(3):
        await asyncio.to_thread(async_to_sync(layer.send), channel, HELLO)
        assert await take(layer, channel) == HELLO
        receiver = asyncio.ensure_future(take(layer, channel))
        await asyncio.sleep(0)
        await within(layer.group_send("room", HELLO))
        assert await receiver == HELLO
        with own_server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
    await within(layer.group_discard("room", channel))


async def test_redis_py_that_hides_its_transport(
    make_layer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error, at once, says that this redis-py does not suit."""
    hide(monkeypatch, "_writer")
    with pytest.raises(RedisError, match=r"redis-py \d.* is not supported"):
        await within(make_layer().send("channel", HELLO))
