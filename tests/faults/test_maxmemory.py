"""A server that is at `maxmemory` and may evict nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis.exceptions

from support.messages import numbered, take_numbers, within
from support.queue_layers import Layers, beside, blocked, nothing_else

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded_server import EmbeddedServer

WAITING = 50


@pytest.fixture
def own_server(start_server: Callable[..., EmbeddedServer]) -> EmbeddedServer:
    """Return a server that evicts nothing."""
    return start_server("maxmemory-policy noeviction")


def fill(server: EmbeddedServer) -> None:
    """Let the server be over its `maxmemory` from now on."""
    with server.client() as client:
        client.config_set("maxmemory", "1")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("key", "value")


def relieve(server: EmbeddedServer) -> None:
    """Let the server have memory again."""
    with server.client() as client:
        client.config_set("maxmemory", "0")


async def test_channels(own_server: EmbeddedServer, own_layers: Layers) -> None:
    """`send` raises, what is queued can be received, and who waits gets what there is room for."""
    layer, sender = own_layers(), own_layers()
    for channel in (await layer.new_channel(), "jobs"):
        for message in numbered(WAITING):
            await sender.send(channel, message)
        fill(own_server)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            await sender.send(channel, {"number": WAITING})
        with own_server.client() as client:
            assert client.zcard(beside(layer, channel).key) == WAITING
        assert await take_numbers(layer, channel, WAITING) == list(range(WAITING))
        receiver = await blocked(own_server, layer, channel)
        for _ in range(5):
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                await sender.send(channel, {"number": 0})
        assert not receiver.done()
        relieve(own_server)
        await sender.send(channel, {"number": 1})
        assert await within(receiver) == {"number": 1}
        await nothing_else(layer, channel)


async def test_groups(own_server: EmbeddedServer, own_layers: Layers) -> None:
    """`group_send` raises, members get what is queued, and no membership gets lost."""
    layer, other = own_layers(), own_layers()
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    await other.group_send("room", {"number": 0})
    fill(own_server)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        await other.group_send("room", {"number": 1})
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        await other.group_add("hall", await other.new_channel())
    assert await take_numbers(layer, channel, 1) == [0]
    relieve(own_server)
    await other.group_send("room", {"number": 2})
    assert await take_numbers(layer, channel, 1) == [2]
    await other.group_send("hall", {"type": "unheard"})
    await nothing_else(layer, channel)


@pytest.mark.parametrize("servers", [1, 2])
async def test_group_discard(start_server: Callable[..., EmbeddedServer], servers: int) -> None:
    """Any process may discard a member, and its group may be on any host."""
    full = [start_server("maxmemory-policy noeviction") for _ in range(servers)]
    made = Layers(hosts=[server.url for server in full])
    owner, other = made(), made()
    channel = await owner.new_channel()
    rooms = [f"room-{number}" for number in range(2 * servers)]
    for room in rooms:
        await owner.group_add(room, channel)
    for server in full:
        fill(server)
    for position, room in enumerate(rooms):
        layer = owner if position % 2 else other
        await within(layer.group_discard(room, channel))
        await within(layer.group_discard(room, channel))
    for server in full:
        relieve(server)
    for room in rooms:
        await other.group_send(room, {"type": "unheard"})
    await nothing_else(owner, channel)
    await made.close()
