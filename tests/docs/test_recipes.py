"""The consumers that the page of recipes shows, on both layers."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import runpy
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from channels.testing import WebsocketCommunicator
from django.conf import settings

from channels_redis.core import RedisChannelLayer
from support.pages import write_files

if TYPE_CHECKING:
    from pathlib import Path

    from embedded_server import EmbeddedServer

DEADLINE = 30


class User:
    """A user who is logged in."""

    def __init__(self, pk: int) -> None:
        self.pk = pk


@pytest.fixture
def recipes(tmp_path: Path) -> dict[str, Any]:
    """Return the definitions in the page's files."""
    if not settings.configured:
        settings.configure()
    write_files("recipes.md", tmp_path)
    files = sorted(tmp_path.glob("*.py"))
    assert len(files) == 7
    defined: dict[str, Any] = {}
    for file in files:
        defined |= runpy.run_path(str(file))
    return defined


async def connect(consumer: Any, **scope: Any) -> WebsocketCommunicator:
    """Open a WebSocket."""
    socket = WebsocketCommunicator(consumer.as_asgi(), "/")
    socket.scope.update(scope)
    connected, _ = await socket.connect(timeout=DEADLINE)
    assert connected
    return socket


async def close(*sockets: WebsocketCommunicator) -> None:
    """Close WebSockets."""
    for socket in sockets:
        await socket.disconnect(timeout=DEADLINE)


@pytest.mark.usefixtures("layer")
async def test_all_but_me(recipes: dict[str, Any]) -> None:
    """The others get the messages of one, and it gets theirs."""
    sockets = [await connect(recipes["Chat"]) for _ in range(3)]
    # Accepted before it has joined: said once more until all have.
    for number, socket in enumerate(sockets):
        await socket.send_json_to({"text": f"from {number}"})
        others = [other for other in sockets if other is not socket]
        for other in others:
            assert await other.receive_json_from(DEADLINE) == {"text": f"from {number}"}
    for socket in sockets:
        assert await socket.receive_nothing()
    await close(*sockets)


@pytest.mark.usefixtures("layer")
async def test_close_all_sockets_of_a_user(recipes: dict[str, Any]) -> None:
    """Those of one user close, those of another stay."""
    mine = [await connect(recipes["Account"], user=User(1)) for _ in range(2)]
    other = await connect(recipes["Account"], user=User(2))
    await recipes["log_out"](1)
    for socket in mine:
        assert await socket.receive_output(DEADLINE) == {
            "type": "websocket.close",
            "code": 4401,
        }
    assert await other.receive_nothing()
    await close(*mine, other)


@pytest.mark.usefixtures("layer")
async def test_limit_the_sockets_of_a_user(recipes: dict[str, Any]) -> None:
    """The oldest ones close, and only those of the user."""
    sockets = [await connect(recipes["Limited"], user=User(pk)) for pk in (2, 1, 1, 1, 1, 1)]
    for socket in sockets[1:3]:
        assert (await socket.receive_output(DEADLINE))["code"] == 4429
    for socket in (sockets[0], *sockets[3:]):
        assert await socket.receive_nothing()
    await close(*sockets)


async def test_latest_value_only(recipes: dict[str, Any], layer: Any) -> None:
    """Of a hundred prices the browser gets a few, the last one among them."""
    socket = await connect(recipes["Prices"])
    last = 0
    shown: list[int] = []
    while not shown:
        last += 1
        await layer.group_send("prices", {"type": "price.changed", "price": last})
        if not await socket.receive_nothing(0.1):
            shown.append((await socket.receive_json_from(DEADLINE))["price"])
    for last in range(1000, 1100):
        await layer.group_send("prices", {"type": "price.changed", "price": last})
    while shown[-1] != last:
        shown.append((await socket.receive_json_from(DEADLINE))["price"])
    assert shown == sorted(shown)
    assert len(shown) < 100
    await close(socket)


async def test_values_of_a_database(
    recipes: dict[str, Any], layer: Any, redis_server: EmbeddedServer, prefix: str
) -> None:
    """UUIDs, dates and decimals arrive as such, from channels and groups, encrypted or not."""
    message = {
        "type": "order.paid",
        "id": uuid.uuid4(),
        "price": decimal.Decimal("9.90"),
        "at": dt.datetime.now(dt.timezone.utc),
        "days": [dt.date(2024, 2, 29), {"also": uuid.uuid4()}],
    }
    with pytest.raises(TypeError, match=r"message\['id'\] is of type uuid.UUID"):
        await layer.send("orders", message)
    assert recipes["DatabaseValues"]
    for keys in (None, ["a key for the tests"]):
        own = type(layer)(
            [redis_server.url],
            prefix=prefix,
            serializer_format="database-values",
            symmetric_encryption_keys=keys,
        )
        channel = await own.new_channel()
        await own.send(channel, message)
        assert await asyncio.wait_for(own.receive(channel), DEADLINE) == message
        await own.group_add("orders", channel)
        await own.group_send("orders", message)
        assert await asyncio.wait_for(own.receive(channel), DEADLINE) == message
        with pytest.raises(TypeError, match=r"message\['x'\] is of type set"):
            await own.send(channel, {"type": "x", "x": {1}})
        await own.close_pools()


async def test_typed_layer(recipes: dict[str, Any], layer: Any) -> None:
    """The site's layer is returned if it is of the class, and is an error otherwise."""
    if isinstance(layer, RedisChannelLayer):
        assert recipes["default_layer"]() is layer
    else:
        with pytest.raises(TypeError, match="must be a RedisChannelLayer, not RedisPubSub"):
            recipes["default_layer"]()


async def test_many_sends_at_once(recipes: dict[str, Any], layer: Any) -> None:
    """They arrive, and share their writes."""
    channels = [await layer.new_channel() for _ in range(50)]
    before = layer.statistics()
    await recipes["notify"](channels, {"type": "hello"})
    found = layer.statistics()
    assert found.sent - before.sent == 50
    assert found.round_trips - before.round_trips < 10
    receiving = (layer.receive(channel) for channel in channels)
    assert await asyncio.wait_for(asyncio.gather(*receiving), DEADLINE) == [{"type": "hello"}] * 50
