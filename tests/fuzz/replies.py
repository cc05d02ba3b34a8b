"""A server whose replies to some commands are hostile, in front of one that serves all others."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from embedded_server import HOST
from fuzz.hostile import resp

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self


class HostileServer:
    """Passes connections on to a server, and replies to some commands itself.

    Attributes:
        answer: Returns the reply to a command's words, None if the server is to reply.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listening: asyncio.Server
        self._connections: set[asyncio.Task[None]] = set()
        self.answer: Callable[[list[bytes]], bytes | None] = lambda _: None
        self.port = 0

    async def start(self) -> Self:
        """Listen."""
        self._listening = await asyncio.start_server(self._accept, HOST, 0)
        self.port = self._listening.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        """End all connections and stop listening."""
        self._listening.close()
        await self.drop()

    async def drop(self) -> None:
        """End all connections."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        replies, server = await asyncio.open_connection(HOST, self._server_port)
        back = asyncio.create_task(copy(replies, writer))
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while words := await read_command(reader):
                    hostile = self.answer(words)
                    if hostile is None:
                        server.write(resp(list(words)))
                    else:
                        writer.write(hostile)
        finally:
            back.cancel()
            server.transport.abort()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what arrives."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    """Return the words of the next command; none at the end."""
    head = await reader.readline()
    if not head:
        return []
    words = []
    for _ in range(int(head[1:])):
        length = int((await reader.readline())[1:])
        words.append((await reader.readexactly(length + 2))[:-2])
    return words
