"""Starts and stops the ASGI server processes of the chat."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedded_server import dies_with_parent

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

HOST = "127.0.0.1"
PORTS = {"A": 8001, "B": 8002}  # if they are free
READY_TIMEOUT = 30.0  # seconds until a server must answer
STOP_TIMEOUT = 5.0  # seconds until a server that was asked to stop is killed
RESTART_PAUSE = 3.0  # seconds until a server that was killed starts again

LAYERS = {
    "pubsub": "channels_redis_pubsub.RedisPubSubChannelLayer",
    "queue": "channels_redis_queue.RedisChannelLayer",
}


class ServerError(Exception):
    """Raised when a server process does not start, or ends by itself."""


@dataclass
class ChatServer:
    """A server process that serves the chat, and the one that replaces it if it is killed."""

    name: str
    url: str
    sock: socket.socket  # It listens between two processes, too: requests wait.
    environment: dict[str, str]
    process: Process

    async def ended(self) -> None:
        """Wait until the process ends, and raise `ServerError`."""
        status = await self.process.wait()
        message = f"server {self.name} ended with exit status {status}; see its output above"
        raise ServerError(message)

    async def keep_running(self) -> None:
        """Start the process again when it is killed. Raise `ServerError` if it ends by itself."""
        while await self.process.wait() == -signal.SIGKILL:
            print(f"Server {self.name} was killed.", flush=True)
            await asyncio.sleep(RESTART_PAUSE)
            self.process = await start(self.sock, self.environment)
            print(f"Server {self.name} starts again.", flush=True)
        await self.ended()

    async def ready(self) -> None:
        """Wait until the server answers requests.

        Raises:
            ServerError: It ended, or did not answer in time.
        """
        tries = [asyncio.ensure_future(work) for work in (self._fetch_page(), self.ended())]
        try:
            done, _ = await asyncio.wait(
                tries, timeout=READY_TIMEOUT, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in tries:
                task.cancel()
        if not done:
            message = f"server {self.name} did not answer within {READY_TIMEOUT:g} s"
            raise ServerError(message)
        for task in done:
            task.result()

    async def _fetch_page(self) -> None:
        """Ask for the page. The socket listens already, so the request waits for the server."""
        reader, writer = await asyncio.open_connection(HOST, int(self.url.rpartition(":")[2]))
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            status = await reader.readline()
        except ConnectionError:
            status = b""
        finally:
            writer.close()
        if not status:
            await self.ended()
        if b" 200 " not in status:
            message = f"server {self.name} answered {status.decode().strip()!r}"
            raise ServerError(message)

    async def stop(self) -> None:
        """End the process, and wait for its end."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT)
        except asyncio.TimeoutError:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def chat_servers(layer: str, redis_url: str) -> AsyncIterator[list[ChatServer]]:
    """Run a server process for each of `PORTS`, and wait until all of them answer.

    Args:
        layer: A key of `LAYERS`.
        redis_url: The Redis that connects them.

    Raises:
        ServerError: One did not start.
    """
    sockets = {name: listen(port) for name, port in PORTS.items()}
    urls = {name: f"http://{HOST}:{sock.getsockname()[1]}" for name, sock in sockets.items()}
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "chat_site.settings",
        "CHAT_LAYER": LAYERS[layer],
        "CHAT_REDIS_URL": redis_url,
        "CHAT_SERVERS": " ".join(f"{name}={url}" for name, url in urls.items()),
        "CHAT_DEMO_PID": str(os.getpid()),
    }
    async with AsyncExitStack() as stack:
        for sock in sockets.values():
            stack.callback(sock.close)
        servers = []
        for name, sock in sockets.items():
            own = {**environment, "CHAT_SERVER": name}
            server = ChatServer(name, urls[name], sock, own, await start(sock, own))
            stack.push_async_callback(server.stop)
            servers.append(server)
        await asyncio.gather(*(server.ready() for server in servers))
        yield servers


def listen(port: int) -> socket.socket:
    """A listening socket on ``port``, or on any free port if it is taken."""
    try:
        return socket.create_server((HOST, port))
    except OSError:
        return socket.create_server((HOST, 0))


async def start(sock: socket.socket, environment: dict[str, str]) -> Process:
    """Start uvicorn on a listening socket."""
    options = ("--lifespan", "off", "--log-level", "warning", "--timeout-graceful-shutdown", "2")
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "chat_site.asgi:application"),
        *("--app-dir", str(Path(__file__).parent), "--fd", str(sock.fileno()), *options),
        env=environment,
        pass_fds=[sock.fileno()],
        start_new_session=True,  # Ctrl-C in the terminal is for the demo to handle.
        preexec_fn=dies_with_parent(),
    )
