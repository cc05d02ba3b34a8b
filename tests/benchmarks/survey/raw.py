"""The limit in Python: a server that writes each frame, built once, straight to its connections."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from benchmarks.survey.site import GROUP, Site

if TYPE_CHECKING:
    from typing_extensions import Self

    from benchmarks.survey.trial import Job

MASK = 4  # bytes; the browsers' are zeros
SHORTEST = 2 + MASK  # bytes of a frame without text
SHORT = 126  # a frame with this many bytes or more has a longer header
HELLO = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


class Client(asyncio.Protocol):
    """A browser's connection: publishes what it says."""

    def __init__(self, site: RawSite) -> None:
        self._site = site
        self._data = b""
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport: Any = transport

    def connection_lost(self, error: Exception | None) -> None:
        """Leave the room."""
        del error
        self._site.room.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        """Answer the handshake, then publish each frame's text."""
        self._data += data
        if not self._is_open:
            _, ending, rest = self._data.partition(b"\r\n\r\n")
            if not ending:
                return
            self._data, self._is_open = rest, True
            self._transport.write(HELLO)
            self._site.room.add(self._transport)
        while len(self._data) > SHORTEST:
            length, start = self._data[1] & 0x7F, 2
            if length == SHORT:
                length, start = int.from_bytes(self._data[2:4], "big"), 4
            start += MASK
            if len(self._data) < start + length:
                return
            self._site.publish(self._data[start : start + length])
            self._data = self._data[start + length :]


class RawSite(Site):
    """A server in this process, without ASGI, Channels and a layer."""

    def __init__(self, job: Job) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.room: set[Any] = set()
        self._redis = Redis.from_url(job.hosts[0])
        self._publishing: set[asyncio.Future[int]] = set()

    async def __aenter__(self) -> Self:
        self._messages = self._redis.pubsub(ignore_subscribe_messages=True)
        await self._messages.subscribe(GROUP)
        self._reading = asyncio.ensure_future(self._read())
        loop = asyncio.get_running_loop()
        await loop.create_server(lambda: Client(self), sock=self._socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()

    def publish(self, text: bytes) -> None:
        """Send a text to the room."""
        call = asyncio.ensure_future(self._redis.publish(GROUP, text))
        self._publishing.add(call)
        call.add_done_callback(self._publishing.discard)

    async def _read(self) -> None:
        async for message in self._messages.listen():
            text = message["data"]
            size = len(text)
            head = bytes([size]) if size < SHORT else bytes([SHORT]) + size.to_bytes(2, "big")
            frame = b"\x81" + head + text
            for transport in self.room:
                transport.write(frame)
