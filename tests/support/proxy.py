"""A TCP proxy in front of a server, to do to connections what networks do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

HOST = "127.0.0.1"
CHUNK = 2**16  # bytes read at once


class Loss:
    """A reply that is to be lost once.

    Attributes:
        happened: Set when the reply was lost.
    """

    def __init__(self, to: bytes | None, *, cut: bool) -> None:
        self.happened = asyncio.Event()
        self._to = to
        self._cut = cut
        self._connection: ProxiedConnection | None = None

    def see_request(self, connection: ProxiedConnection, data: bytes) -> None:
        """Remember the connection whose next reply is the one to lose."""
        if self._connection is None and self._to is not None and self._to in data:
            self._connection = connection

    def takes_reply(self, connection: ProxiedConnection) -> bool:
        """Say whether a reply on this connection is lost, and do what comes with it."""
        expected = self._to is None or self._connection is connection
        if self.happened.is_set() or not expected:
            return False
        self.happened.set()
        if self._cut:
            connection.cut()
        else:
            connection.stall(requests=False, replies=True)
        return True


class ProxiedConnection:
    """One client's connection through the proxy.

    Attributes:
        round_trips: How often the client sent something and then the server answered. Commands
            that go out in one write and are answered together are one.
        forgotten: Whether what the client sends next is answered with a reset.
        open: Whether it is still there.
    """

    def __init__(
        self,
        proxy: TcpProxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.round_trips = 0
        self.forgotten = False
        self.open = True
        self._proxy = proxy
        self._client_reader, self._client_writer = client
        self._server_reader, self._server_writer = server
        self._unanswered = False
        self._requests_flow = asyncio.Event()
        self._replies_flow = asyncio.Event()
        self.resume()

    def stall(self, *, requests: bool = True, replies: bool = True) -> None:
        """Forward nothing more, not even the end of the connection, and say nothing about it."""
        if requests:
            self._requests_flow.clear()
        if replies:
            self._replies_flow.clear()

    def resume(self) -> None:
        """Forward what was held back, and all that follows."""
        self._requests_flow.set()
        self._replies_flow.set()

    def cut(self) -> None:
        """Close both sides at once, without sending what is on its way."""
        self.open = False
        self._client_writer.transport.abort()
        self._server_writer.transport.abort()

    def reset(self) -> None:
        """Close both sides as firewalls and crashed hosts do: with a reset."""
        for writer in (self._client_writer, self._server_writer):
            opened = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # that side has just closed
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.cut()

    async def run(self) -> None:
        """Forward in both directions until one side ends."""
        pumps = {
            asyncio.create_task(self._forward_requests()),
            asyncio.create_task(self._forward_replies()),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.open = False
            # First of all: what is awaited below may be cancelled, when the proxy ends meanwhile.
            self._client_writer.close()
            self._server_writer.close()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _forward_requests(self) -> None:
        while data := await self._read(self._client_reader, self._requests_flow):
            if self.forgotten:
                self.reset()
                return
            self._unanswered = True
            for loss in self._proxy.losses:
                loss.see_request(self, data)
            self._server_writer.write(data)
            await self._server_writer.drain()

    async def _forward_replies(self) -> None:
        while data := await self._read(self._server_reader, self._replies_flow):
            if any(loss.takes_reply(self) for loss in self._proxy.losses):
                continue
            self.round_trips += self._unanswered
            self._unanswered = False
            for held in [data.find(mark) for mark in self._proxy.holds if mark in data]:
                self._client_writer.write(data[:held])
                data = data[held:]
                self.stall(requests=False)
                await self._replies_flow.wait()
            # What is throttled passes in twenty pieces a second.
            piece = self._proxy.bytes_a_second // 20 or len(data)
            for start in range(0, len(data), piece):
                self._client_writer.write(data[start : start + piece])
                if piece < len(data):
                    await asyncio.sleep(1 / 20)
            await self._client_writer.drain()

    async def _read(self, reader: asyncio.StreamReader, flow: asyncio.Event) -> bytes:
        data = await reader.read(CHUNK)
        if self._proxy.delay:
            await asyncio.sleep(self._proxy.delay)
        await flow.wait()
        return data


class TcpProxy:
    """A proxy on a loopback port in front of a server on another.

    It runs in the event loop that started it.

    Attributes:
        connections: Every connection that was made through it, closed ones too, oldest first.
        server_port: The port that new connections lead to.
        bytes_a_second: How fast what the server sends may pass; 0: as fast as it can.
        delay: Seconds for which each piece is held, in both directions.
        losses: The replies that are to be lost.
        holds: Bytes of replies before which a connection falls silent, once they come.

    Args:
        server_port: The loopback port to forward to.
    """

    def __init__(self, server_port: int) -> None:
        self.connections: list[ProxiedConnection] = []
        self.server_port = server_port
        self.bytes_a_second = 0
        self.delay = 0.0
        self.losses: list[Loss] = []
        self.holds: list[bytes] = []
        self._stall_new: dict[str, bool] | None = None
        self._to_forget = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that clients connect to. The proxy must have been started."""
        assert self._listener is not None
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The address for clients, as redis-py and channel layers take it."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def open_connections(self) -> list[ProxiedConnection]:
        """The connections that are there now."""
        return [connection for connection in self.connections if connection.open]

    @property
    def round_trips(self) -> int:
        """The round trips of all connections together."""
        return sum(connection.round_trips for connection in self.connections)

    def stall(self, *, requests: bool = True, replies: bool = True, new: bool = False) -> None:
        """Let connections fall silent without closing: nothing more is forwarded.

        Args:
            requests: Whether to hold back what clients send.
            replies: Whether to hold back what the server sends.
            new: Whether connections made from now on are silent, too.
        """
        for connection in self.connections:
            connection.stall(requests=requests, replies=replies)
        if new:
            self._stall_new = {"requests": requests, "replies": replies}

    def resume(self) -> None:
        """Undo `stall` and `holds`: what was held back arrives, and all that follows."""
        self._stall_new = None
        self.holds.clear()
        for connection in self.connections:
            connection.resume()

    def cut(self) -> None:
        """Close all connections at once. New ones are welcome."""
        for connection in self.open_connections:
            connection.cut()

    def reset(self) -> None:
        """Close all connections at once with a reset. New ones are welcome."""
        for connection in self.open_connections:
            connection.reset()

    def forget(self, *, new: int = 0) -> None:
        """Answer what clients send next with a reset, as a router that has lost their connections.

        Args:
            new: How many of the connections made from now on are forgotten, too.
        """
        for connection in self.open_connections:
            connection.forgotten = True
        self._to_forget = new

    def lose_reply(self, to: bytes | None = None, *, cut: bool = True) -> Loss:
        """Lose one reply on its way: the server did what it was asked, the client can't know.

        Args:
            to: Bytes of the request whose reply is lost (a command's name, a channel's name);
                without them, it is what the server sends next on any connection.
            cut: Whether the connection is then closed; otherwise no further reply passes on it.
        """
        loss = Loss(to, cut=cut)
        self.losses.append(loss)
        return loss

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, HOST, 0)
        # A task, as servers have them: a layer can't see sockets of uvloop, and might take a loop
        # without tasks for one that only runs for its caller.
        self._tasks.add(asyncio.create_task(self._listener.serve_forever()))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listener is not None:
            self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            server = await asyncio.open_connection(HOST, self.server_port)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
            return
        connection = ProxiedConnection(self, (reader, writer), server)
        if self._to_forget:
            self._to_forget -= 1
            connection.forgotten = True
        if self._stall_new is not None:
            connection.stall(**self._stall_new)
        self.connections.append(connection)
        with contextlib.suppress(asyncio.CancelledError):  # Only __aexit__ cancels it.
            await connection.run()
