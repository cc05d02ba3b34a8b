"""The consumer of the page on presence, on both layers."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from channels.layers import channel_layers
from channels.testing import WebsocketCommunicator
from django.conf import settings

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from support.pages import write_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from embedded_server import EmbeddedServer

DEADLINE = 30


class User:
    """A user who is logged in."""

    def __init__(self, pk: int, username: str) -> None:
        self.pk = pk
        self.username = username


@pytest.fixture
def page(tmp_path: Path) -> dict[str, Any]:
    """Return all that the page's file defines."""
    if not settings.configured:
        settings.configure()
    write_files("presence.md", tmp_path)
    return runpy.run_path(str(tmp_path / "consumers.py"))


@pytest_asyncio.fixture(
    params=[RedisChannelLayer, RedisPubSubChannelLayer], ids=["queue", "pubsub"]
)
async def layer(
    request: pytest.FixtureRequest, redis_server: EmbeddedServer, prefix: str
) -> AsyncIterator[Any]:
    """Return the site's layer."""
    made = request.param([redis_server.url], prefix=prefix)
    before = channel_layers.set("default", made)
    yield made
    channel_layers.set("default", before)
    await made.close_pools()


async def open_page(consumer: Any, user: User) -> tuple[WebsocketCommunicator, dict[str, Any]]:
    """Open a WebSocket; return it, and who it says is there."""
    socket = WebsocketCommunicator(consumer.as_asgi(), "/")
    socket.scope.update(user=user, url_route={"kwargs": {"room": "kitchen"}})
    connected, _ = await socket.connect(timeout=DEADLINE)
    assert connected
    return socket, await socket.receive_json_from(timeout=DEADLINE)


@pytest.mark.usefixtures("layer")
async def test_page(page: dict[str, Any]) -> None:
    """Pages get a list, and then who comes and goes."""
    page["presence"].grace = 0.1
    ann, listed = await open_page(page["Room"], User(7, "Ann"))
    assert listed["people"] == {"7": [{"name": "Ann"}]}
    bob, listed = await open_page(page["Room"], User(9, "Bob"))
    assert set(listed["people"]) == {"7", "9"}
    joined: set[str] = set()
    while joined != {"7", "9"}:
        diff = await ann.receive_json_from(timeout=DEADLINE)
        joined |= set(diff["joins"])
    await bob.disconnect(timeout=DEADLINE)
    diff = await ann.receive_json_from(timeout=DEADLINE)
    assert diff["leaves"] == {"9": [{"name": "Bob"}]}
    assert diff["at"]["9"] > listed["at"]
    await ann.disconnect(timeout=DEADLINE)
