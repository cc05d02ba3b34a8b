"""Sites of the documentation, and the programs that serve them."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus

from embedded_server import HOST, dies_with_parent, reserve_port
from support.pages import LOCALHOST, write_files
from support.programs import environment
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

DEADLINE = 45.0  # seconds; generous, since Django has to start


def start_project(folder: Path, *pages: str, url: str = LOCALHOST) -> Path:
    """Start a project of Django as the pages say, with their files; return its folder."""
    command = [sys.executable, "-m", "django", "startproject", "mysite", "."]
    subprocess.run(command, cwd=folder, check=True)
    for page in pages:
        write_files(page, folder, url)
    return folder


def free_port() -> int:
    """Return a port that was free just now."""
    with reserve_port() as found:
        port: int = found.getsockname()[1]
        return port


@asynccontextmanager
async def running(
    *command: str, cwd: Path | None = None, files: Sequence[int] = (), **environ: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program until the block ends, unless that ends it before.

    Args:
        command: The program and its arguments.
        cwd: Where it runs.
        files: Descriptors that it inherits.
        environ: Environment variables.
    """
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=environment(**environ), pass_fds=files, preexec_fn=dies_with_parent()
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@asynccontextmanager
async def daphne(project: Path) -> AsyncIterator[int]:
    """Serve a project, and yield the port."""
    with socket.create_server((HOST, 0)) as listening:
        number, port = listening.fileno(), int(listening.getsockname()[1])
        command = (sys.executable, "-m", "daphne", "--fd", str(number), "mysite.asgi:application")
        serving = running(*command, cwd=project, files=[number])
        async with serving:
            listening.close()
            yield port


async def client(port: int) -> ClientConnection:
    """Connect to a project's chat as a browser would, once a server answers.

    Raises:
        websockets.exceptions.InvalidStatus: It refuses with a status that lasts.
    """

    async def connected() -> ClientConnection | None:
        # A server gives a consumer 5 s to accept, less than its first imports take under load.
        try:
            return await connect(f"ws://localhost:{port}/chat/", proxy=None, open_timeout=DEADLINE)
        except InvalidStatus as refused:
            if refused.response.status_code == 500:
                raise
        except (OSError, InvalidHandshake):
            pass
        return None

    found = await eventually(connected, DEADLINE)
    assert found
    return found
