"""Histories that a server has lost: members of both layers get a notice of the gap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.histories import GROUP, HISTORY, follow, plain, send
from support.messages import numbered, take, take_many
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded_server import EmbeddedServer


pytestmark = pytest.mark.usefixtures("frequent_checks")


async def test_server_comes_back_empty(
    own_server: EmbeddedServer, make_layer: Callable[..., Any]
) -> None:
    """The notice comes once, within seconds, also if nothing is sent; then messages flow."""
    layer, sender = [make_layer(**HISTORY) for _ in range(2)]
    channel, joined = await follow(layer)
    await send(sender, numbered(1))
    assert plain([await take(layer, channel)]) == numbered(1)
    own_server.kill()
    own_server.start()
    notice = await take(layer, channel)
    assert notice.pop("__asgi_position__")
    assert notice == {"type": "chat.gap", "group": GROUP, "recovered": False}
    await send(sender, numbered(2))
    assert plain(await take_many(layer, channel, 2)) == numbered(2)
    _, again = await follow(layer, since=joined.position)
    assert not again.recovered


async def test_history_was_deleted(
    own_server: EmbeddedServer, make_layer: Callable[..., Any]
) -> None:
    """The notice comes with the next message, as others may be missing before it."""
    layer, sender = [make_layer(**HISTORY) for _ in range(2)]
    channel, _ = await follow(layer)
    await send(sender, numbered(1))
    assert plain([await take(layer, channel)]) == numbered(1)
    with own_server.client() as client:
        assert client.delete(*client.keys("*$*history{*"), *client.keys("*$*position{*")) == 2
        # In one millisecond, an id may come twice, and only later ones are certainly new.
        deleted = client.time()
        await eventually(lambda: client.time()[1] // 1000 != deleted[1] // 1000)
    await send(sender, numbered(2))
    assert (await take(layer, channel))["type"] == "chat.gap"
    assert plain(await take_many(layer, channel, 2)) == numbered(2)
