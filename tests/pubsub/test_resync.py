"""The consumer that the page on Pub/Sub shows: it catches up after an outage."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from channels.testing import WebsocketCommunicator

from support.default_layer import default_layer
from support.messages import within
from support.pages import DOCS

if TYPE_CHECKING:
    from support.pubsub_layers import Layers


def scoreboard(state: dict[str, Any]) -> Any:
    """Return the consumer class of the page, with a database that holds a state."""

    async def read_scores() -> dict[str, Any]:
        return state

    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "pubsub.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {"read_scores": read_scores}
    exec(next(one for one in blocks if "class Scoreboard" in one), names)  # noqa: S102 - our own
    return names["Scoreboard"]


async def test_consumer_catches_up(own_layers: Layers) -> None:
    """Changes during an outage are read afterwards; known ones are skipped."""

    async def change(version: int) -> None:
        message = {"type": "scores.changed", "version": version, "scores": {"ada": version}}
        await within(layer.group_send("scores", message))

    async def received() -> Any:
        return await socket.receive_json_from(timeout=20)

    state = {"version": 1, "scores": {"ada": 1}}
    notices = {"on_disconnect": "redis.disconnect", "on_reconnect": "redis.reconnect"}
    with default_layer(own_layers(**notices)) as layer:
        socket = WebsocketCommunicator(scoreboard(state).as_asgi(), "/")
        assert (await within(socket.connect(timeout=20)))[0]
        assert await received() == {"version": 1, "scores": {"ada": 1}}
        await change(2)
        assert await received() == {"version": 2, "scores": {"ada": 2}}
        own_layers.server.kill()
        assert await received() == {"live": False}
        state.update(version=3, scores={"ada": 3})
        own_layers.server.start()
        assert await received() == {"live": True}
        assert await received() == {"version": 3, "scores": {"ada": 3}}
        # One that was published before the state was read, and one after that.
        await change(3)
        await change(4)
        assert await received() == {"version": 4, "scores": {"ada": 4}}
        await within(socket.disconnect(timeout=20))
