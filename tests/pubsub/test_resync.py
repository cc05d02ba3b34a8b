"""The consumer that the page on Pub/Sub shows: it catches up after an outage."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from channels.testing import WebsocketCommunicator
from django.conf import settings

from support.default_layer import default_layer
from support.messages import within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embedded_server import EmbeddedServer
    from support.pubsub_layers import Layers

PAGE = Path(__file__).parents[2] / "docs" / "pubsub.md"


@pytest.fixture(autouse=True)
def _site() -> None:
    """Make what consumers take for granted: a site's settings."""
    if not settings.configured:
        settings.configure()


@pytest.fixture
def layer(own_layers: Layers) -> Iterator[Any]:
    """Yield the site's layer, with the options that the page sets."""
    made = own_layers(on_disconnect="redis.disconnect", on_reconnect="redis.reconnect")
    with default_layer(made):
        yield made


@pytest.fixture
def state() -> dict[str, Any]:
    """Return the contents of the database."""
    return {"version": 1, "scores": {"ada": 1}}


@pytest.fixture
def scoreboard(state: dict[str, Any]) -> Any:
    """Return the consumer class of the page."""

    async def read_scores() -> dict[str, Any]:
        return {**state, "scores": dict(state["scores"])}

    code = next(
        block
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        if "class Scoreboard" in block
    )
    names: dict[str, Any] = {"read_scores": read_scores}
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102 - it is our own
    return names["Scoreboard"]


async def test_consumer_catches_up(
    own_server: EmbeddedServer, layer: Any, scoreboard: Any, state: dict[str, Any]
) -> None:
    """Changes during an outage are read afterwards; known ones are skipped."""
    socket = WebsocketCommunicator(scoreboard.as_asgi(), "/")

    async def received() -> Any:
        return await socket.receive_json_from(timeout=20)

    assert (await within(socket.connect(timeout=20)))[0]
    assert await received() == {"version": 1, "scores": {"ada": 1}}
    change = {"type": "scores.changed", "version": 2, "scores": {"ada": 2}}
    await within(layer.group_send("scores", change))
    assert await received() == {"version": 2, "scores": {"ada": 2}}
    own_server.kill()
    assert await received() == {"live": False}
    state.update(version=3, scores={"ada": 3})
    own_server.start()
    assert await received() == {"live": True}
    assert await received() == {"version": 3, "scores": {"ada": 3}}
    # One that was published before the state was read, and one after that.
    for version in (3, 4):
        late = {"type": "scores.changed", "version": version, "scores": {"ada": version}}
        await within(layer.group_send("scores", late))
    assert await received() == {"version": 4, "scores": {"ada": 4}}
    await within(socket.disconnect(timeout=20))
