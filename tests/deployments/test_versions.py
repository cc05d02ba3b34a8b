"""Servers of several versions; one that is too old is refused by name."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from asgiref.sync import async_to_sync
from redis.exceptions import ResponseError

from embedded_server import HOST, EmbeddedServer
from support.counting import count_commands
from support.layers import works
from support.messages import within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.layers import LayerClass, Layers

FOUR = "4.0.14"


class OldServer:
    """Speaks as Redis 4.0 does, as far as a client gets that asks for its version.

    No such server can be installed from a package any more.
    """

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        while line := await reader.readline():
            count = int(line[1:])
            words = []
            for _ in range(count):
                length = int((await reader.readline())[1:])
                words.append((await reader.readexactly(length + 2))[:-2].decode(errors="replace"))
            self.commands.append(words[0].upper())
            writer.write(self.answer(*words))
        writer.close()

    def answer(self, command: str, *words: str) -> bytes:
        """Return the reply to a command."""
        if command.upper() == "INFO":
            text = f"# Server\r\nredis_version:{FOUR}\r\nredis_mode:standalone\r\n"
            return f"${len(text)}\r\n{text}\r\n".encode()
        if command.upper() == "CLIENT" and words[0].upper() != "SETINFO":
            return b"+OK\r\n"
        return f"-ERR unknown command '{command}'\r\n".encode()


@pytest_asyncio.fixture
async def old_server() -> AsyncIterator[OldServer]:
    """Yield a server that is too old."""
    old = OldServer()
    server = await asyncio.start_server(old.serve, HOST, 0)
    old.port = server.sockets[0].getsockname()[1]
    yield old
    server.close()


async def test_server_that_is_too_old(
    old_server: OldServer, layer_class: LayerClass, layers: Layers
) -> None:
    """Sending and receiving raise at once an error with its version and the lowest one."""
    layer, other = (layers(layer_class, (HOST, old_server.port)) for _ in range(2))
    message = {"type": "work"}
    for attempt in (
        layer.send("jobs", message),
        layer.receive("jobs"),
        asyncio.to_thread(async_to_sync(other.send), "jobs", message),
    ):
        began = time.monotonic()
        with pytest.raises(ResponseError, match=rf"{FOUR}.* Redis 5\.0"):
            await within(attempt)
        assert time.monotonic() - began < 4
    assert "INFO" in old_server.commands


async def test_version_is_asked_for_once(
    own_server: EmbeddedServer, layer_class: LayerClass, layers: Layers
) -> None:
    """The first connection asks; later ones, and commands, do not."""
    layer = layers(layer_class, own_server.url)
    with count_commands(own_server) as counted:
        channel = await within(layer.new_channel())
        for _ in range(3):
            await within(layer.send(channel, {"type": "message"}))
            await within(layer.receive(channel))
        await within(layer.close_pools())
        await works(layers, layer_class, own_server.url)
    # The layer's first connection, and one of each of the two layers in `works`.
    assert counted.commands["hello"] == 3
    assert "info" not in counted.commands
