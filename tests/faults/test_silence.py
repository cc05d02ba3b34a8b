"""Long silences: channels on which nothing happens, connections and servers that say nothing.

Each takes 10 s or more, so they happen at the same time, in one test.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
import redis.exceptions

from support.messages import take, within
from support.proxy import TcpProxy
from support.queue_layers import Layers, blocked, nothing_else, sent, waiting
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from embedded_server import EmbeddedServer

    Scene = Callable[[EmbeddedServer, TcpProxy, Layers], Awaitable[None]]

IDLE = 12.5  # seconds; redis-py 8 gives up a read after 5 of them, unless it is told otherwise
FOUND_WITHIN = 40


async def wait_idly(server: EmbeddedServer, _: TcpProxy, layers: Layers, *, frozen: bool) -> None:
    """Consumers wait on idle channels, also while the server is frozen, and get the next message.

    A frozen server accepts connections, and never replies.
    """
    layer, sender = layers(), layers()
    channels = [await layer.new_channel(), "jobs"]
    receivers = [await blocked(server, layer, channel) for channel in channels]
    if frozen:
        server.pause()
    await asyncio.wait(receivers, timeout=IDLE, return_when=asyncio.FIRST_COMPLETED)
    assert not any(receiver.done() for receiver in receivers)
    server.resume()
    for channel, receiver in zip(channels, receivers, strict=True):
        await eventually(lambda name=channel: sent(sender, name))  # type: ignore[misc]
        # A wait that times out takes 5 s.
        assert await within(receiver, FOUND_WITHIN if frozen else 4) == {"type": "hello"}
        await nothing_else(layer, channel)


async def silent_connections(_: EmbeddedServer, proxy: TcpProxy, layers: Layers) -> None:
    """Connections that carry nothing any more are replaced, and consumers see no error."""
    layer, sender = layers(hosts=[proxy.url]), layers()
    member = await layer.new_channel()
    await layer.group_add("room", member)
    receivers = {
        channel: await waiting(layer, channel) for channel in (await layer.new_channel(), "jobs")
    }
    proxy.stall()
    started = time.monotonic()
    for channel in receivers:
        await sender.send(channel, {"type": "through silence"})
    with pytest.raises(redis.exceptions.RedisError):
        await within(layer.send("mails", {"type": "lost"}), 15)
    await within(layer.send("mails", {"type": "found"}), 15)
    await sender.group_send("room", {"type": "group"})
    for channel, receiver in receivers.items():
        assert await within(receiver, FOUND_WITHIN) == {"type": "through silence"}, channel
    assert await take(layer, member) == {"type": "group"}
    assert await take(layer, "mails") == {"type": "found"}
    assert time.monotonic() - started < FOUND_WITHIN
    # What the old connections held back changes nothing when it arrives after all.
    proxy.resume()
    for channel in receivers:
        await nothing_else(layer, channel)


async def silent_replies(server: EmbeddedServer, proxy: TcpProxy, layers: Layers) -> None:
    """The server gets everything and its replies are lost: messages in them are not."""
    layer, sender = layers(hosts=[proxy.url]), layers()
    channels = [await layer.new_channel(), "jobs"]
    receivers = [await blocked(server, layer, channel) for channel in channels]
    proxy.stall(requests=False)
    for channel in channels:
        await sender.send(channel, {"number": 0})
        await sender.send(channel, {"number": 1})
    for channel, receiver in zip(channels, receivers, strict=True):
        assert await within(receiver, FOUND_WITHIN) == {"number": 0}
        assert await take(layer, channel) == {"number": 1}
        await nothing_else(layer, channel)


@pytest.mark.timeout(120)
@pytest.mark.slow
async def test_silences(start_server: Callable[..., EmbeddedServer]) -> None:
    """Consumers wait through idle channels, silent connections and a frozen server."""

    async def play(scene: Scene) -> None:
        server = start_server()
        async with TcpProxy(server.port) as proxy:
            layers = Layers(hosts=[server.url])
            await scene(server, proxy, layers)
            await layers.close()

    waits = [partial(wait_idly, frozen=frozen) for frozen in (False, True)]
    scenes: list[Scene] = [*waits, silent_connections, silent_replies]
    await asyncio.gather(*map(play, scenes))
