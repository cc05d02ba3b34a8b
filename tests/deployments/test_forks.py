"""A process that forks while its layer is in use."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import TYPE_CHECKING

import pytest

from support.messages import joined, take, within
from support.waiting import all_closed

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from embedded_server import EmbeddedServer
    from support.layers import Layer, LayerClass, Layers

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


def fork(work: Coroutine[None, None, None]) -> int:
    """Do some work in a child process, which ends with status 0 if it succeeds."""
    child = os.fork()
    if child == 0:
        # Nothing of the parent's, such as its running loop, may be used here.
        done: list[None] = []
        try:
            thread = threading.Thread(target=lambda: done.append(asyncio.run(work)))
            thread.start()
            thread.join()
        finally:
            os._exit(0 if done else 1)
    work.close()
    return child


async def talk(layer: Layer, name: str) -> None:
    """Send to a new channel and to all, and receive."""
    channel = await joined(layer, name)
    for number in range(20):
        await within(layer.send(channel, {"to": name, "number": number}))
        assert await take(layer, channel) == {"to": name, "number": number}
    await within(layer.group_send(name, {"to": "group"}))
    assert await take(layer, channel) == {"to": "group"}
    await within(layer.group_send("room", {"from": name}))
    await layer.close_pools()


async def test_forks(
    redis_server: EmbeddedServer,
    layer_class: LayerClass,
    layers: Layers,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Parent and children get what is theirs, each through its own connections."""
    caplog.set_level(logging.INFO)
    layer = layers(layer_class, redis_server.url)
    channel = await joined(layer, "room")
    await within(layer.send(channel, {"to": "parent"}))
    assert await take(layer, channel) == {"to": "parent"}
    receiving = asyncio.ensure_future(layer.receive(channel))
    await asyncio.sleep(0)  # so that the parent waits while it forks
    children = [fork(talk(layer, name)) for name in ("first", "second")]
    for child in children:
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert status == 0
    heard = [await within(receiving), await take(layer, channel)]
    assert {message["from"] for message in heard} == {"first", "second"}
    await within(layer.send(channel, {"to": "parent"}))
    assert await take(layer, channel) == {"to": "parent"}
    assert not caplog.records  # neither of a connection that was lost


async def test_child_keeps_no_connection_open(
    own_server: EmbeddedServer, layer_class: LayerClass, layers: Layers
) -> None:
    """The server sees that the parent closes its connections while a child still runs."""
    layer = layers(layer_class, own_server.url)
    await joined(layer, "room")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        await layer.close_pools()
        await all_closed(own_server)
    finally:
        os.close(writing)
        os.close(reading)
        await asyncio.to_thread(os.waitpid, child, 0)
