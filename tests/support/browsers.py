"""WebSocket clients, as many as a process can hold: they count their frames."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections import deque
from typing import Any

AT_ONCE = 50  # handshakes
SHORT = 126  # a frame with this many bytes or more has a longer header
LONG = 127
PING = 0x89


class Browser(asyncio.Protocol):
    """One client.

    Args:
        counter: Counts its frames.
    """

    def __init__(self, counter: Browsers) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # What its frames hold, if the counter keeps them.
        self.frames: list[bytes] = []
        self._counter = counter
        self._data = b""
        self._is_open = False
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET {self._counter.path} HTTP/1.1\r\nHost: localhost\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def connection_lost(self, error: Exception | None) -> None:
        """Fail, unless all is over."""
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(f"the server hung up: {error}"))

    def data_received(self, data: bytes) -> None:
        """Count the frames."""
        self._data = self._data + data if self._data else data
        if not self._is_open:
            head, ending, rest = self._data.partition(b"\r\n\r\n")
            if not ending:
                return
            if b" 101 " not in head:
                self.opened.set_exception(ConnectionError(head.decode(errors="replace")))
                return
            self._data = rest
            self._is_open = True
            self.opened.set_result(None)
        at, frames = 0, 0
        while end := _frame_end(self._data, at):
            if self._data[at] == PING:
                self._answer(self._data[_content_start(self._data, at) : end])
            else:
                if self._counter.keep_frames:
                    self.frames.append(self._data[_content_start(self._data, at) : end])
                frames += 1
            at = end
        self._data = self._data[at:]
        if frames:
            self._counter.arrived(frames)

    def say(self, content: object) -> None:
        """Send JSON in a text frame."""
        self.write(json.dumps(content))

    def write(self, content: str) -> None:
        """Send a text frame, masked as a client's has to be."""
        text = content.encode()
        if len(text) >= SHORT:
            head = bytes([0x81, 0x80 | SHORT]) + len(text).to_bytes(2, "big")
        else:
            head = bytes([0x81, 0x80 | len(text)])
        # A mask of zeros changes nothing.
        self._transport.write(head + bytes(4) + text)

    def _answer(self, ping: bytes) -> None:
        """Send a pong, without which the server closes the connection."""
        self._transport.write(bytes([0x8A, 0x80 | len(ping)]) + bytes(4) + ping)

    def close(self) -> None:
        """Close the connection."""
        self._transport.abort()


class Browsers:
    """Clients of some servers, and how many frames they have got.

    Args:
        keep_frames: Whether each keeps what its frames hold.
        path: What each asks its server for.
    """

    def __init__(self, *, keep_frames: bool = False, path: str = "/") -> None:
        self.path = path
        self.keep_frames = keep_frames
        self.all: list[Browser] = []
        self._count = 0
        # How many frames each expects, in turn, and what gets the time at which they have come.
        self._expected: deque[tuple[int, asyncio.Future[float]]] = deque()

    async def connect(self, ports: list[int], count: int) -> None:
        """Open so many WebSockets, spread over the servers."""
        loop = asyncio.get_running_loop()
        for start in range(0, count, AT_ONCE):
            made = await asyncio.gather(
                *(
                    loop.create_connection(
                        lambda: Browser(self), "127.0.0.1", ports[at % len(ports)]
                    )
                    for at in range(start, min(start + AT_ONCE, count))
                )
            )
            new = [browser for _, browser in made]
            await asyncio.gather(*(browser.opened for browser in new))
            self.all += new

    def say(self, browser: int, content: object) -> None:
        """Send JSON from one of them."""
        self.all[browser].say(content)

    def expect(self, frames: int) -> asyncio.Future[float]:
        """Return what will be the time at which so many more frames have come."""
        arrived: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._expected.append((frames, arrived))
        return arrived

    def arrived(self, frames: int) -> None:
        """Count some frames, if some are expected."""
        self._count += frames if self._expected else 0
        while self._expected and self._count >= self._expected[0][0]:
            expected, arrived = self._expected.popleft()
            self._count -= expected
            if not arrived.done():  # a test that gave up has cancelled it
                arrived.set_result(time.perf_counter())

    def close(self) -> None:
        """Close all."""
        for browser in self.all:
            browser.close()


def _frame_end(data: bytes, at: int) -> int:
    """Return where the frame at a position ends; 0 if some of it is missing."""
    if len(data) < at + 2:
        return 0
    length, start = data[at + 1], at + 2
    if length >= SHORT:
        start = _content_start(data, at)
        length = int.from_bytes(data[at + 2 : start], "big")
    end = start + length
    return end if len(data) >= end else 0


def _content_start(data: bytes, at: int) -> int:
    """Return where the content of the frame at a position starts; a server's is not masked."""
    return at + {SHORT: 4, LONG: 10}.get(data[at + 1], 2)
