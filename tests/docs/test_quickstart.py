"""The project of the quick start does what its page says."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from embedded_server import HOST, dies_with_parent
from support import programs
from support.chromium import launch
from support.pages import DOCS, write_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from embedded_server import EmbeddedServer

DEADLINE = 30.0  # seconds; generous, since Django has to start


@pytest.fixture
def project(tmp_path: Path, redis_server: EmbeddedServer) -> Path:
    """Do what the page says, up to running it."""
    programs.run("-m", "django", "startproject", "mysite", ".", cwd=tmp_path)
    write_files("quickstart.md", tmp_path, redis_server.url)
    return tmp_path


@asynccontextmanager
async def daphne(project: Path) -> AsyncIterator[int]:
    """Run the project on a free port; give the port."""
    with socket.socket() as listening:
        listening.bind((HOST, 0))
        listening.listen()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "daphne", "--fd", str(listening.fileno())),
            "mysite.asgi:application",
            cwd=project,
            pass_fds=[listening.fileno()],
            preexec_fn=dies_with_parent(),
        )
        port: int = listening.getsockname()[1]
    try:
        yield port
    finally:
        process.kill()
        await process.wait()


async def client(port: int) -> ClientConnection:
    """Connect as a browser would, once the server answers."""
    until = asyncio.get_running_loop().time() + DEADLINE
    while True:
        try:
            return await connect(f"ws://{HOST}:{port}/chat/", proxy=None, open_timeout=DEADLINE)
        except InvalidHandshake:
            # Daphne gives a consumer 5 s to accept, less than its first imports take under load.
            if asyncio.get_running_loop().time() > until:
                raise


@pytest.mark.slow
async def test_quickstart(project: Path) -> None:
    """Browsers at both server processes get what a browser sends to one."""
    async with (
        daphne(project) as first,
        daphne(project) as second,
        await client(first) as one,
        await client(second) as two,
    ):
        await one.send(json.dumps({"text": "Hello"}))
        for browser in (one, two):
            answer = await asyncio.wait_for(browser.recv(), DEADLINE)
            assert json.loads(answer) == {"text": "Hello"}


@pytest.mark.slow
async def test_page(project: Path) -> None:
    """The page of one server shows the words typed into that of the other."""
    async with daphne(project) as first, daphne(project) as second, launch() as browser:
        # The first answers take as long as Django's imports.
        for port in (first, second):
            await (await client(port)).close()
        pages = [await browser.new_page() for _ in (first, second)]
        for page, port in zip(pages, (first, second), strict=True):
            await page.goto(f"http://localhost:{port}/", timeout=DEADLINE * 1000)
            await page.wait_for_function("chat.readyState === WebSocket.OPEN")
        await pages[0].fill("input", "Hello")
        await pages[0].press("input", "Enter")
        for page in pages:
            await page.wait_for_selector("li:text-is('Hello')", timeout=DEADLINE * 1000)


def test_check(project: Path) -> None:
    """The checks find nothing in the project, and say what the page shows of a mistake in it."""
    assert "no issues" in programs.run("manage.py", "check", cwd=project).out
    settings = project / "mysite/settings.py"
    settings.write_text(settings.read_text().replace('"hosts": ', '"host": '))
    done = programs.run("manage.py", "check", cwd=project)
    (shown,) = re.findall(
        r"^SystemCheckError.*?(?=^```)",
        (DOCS / "quickstart.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert shown in done.err


@pytest.mark.parametrize("layer", ["channels_redis_queue", "channels_redis_pubsub"])
@pytest.mark.slow
async def test_handshake_without_redis(layer: str, project: Path) -> None:
    """The page on deployment lets the layer give up before Daphne does."""
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        write_files("deployment.md", project, f"redis://{HOST}:{unused.getsockname()[1]}/0")
        settings = project / "mysite/settings.py"
        if layer == "channels_redis_pubsub":
            text = settings.read_text().replace(
                "channels_redis_queue.Redis", f"{layer}.RedisPubSub"
            )
            settings.write_text(text)
        async with daphne(project) as port:
            assert await outcome(port) == (4503 if layer == "channels_redis_queue" else 500)


async def outcome(port: int) -> int:
    """Return the status that refuses a handshake, or the code that closes the WebSocket."""
    until = asyncio.get_running_loop().time() + DEADLINE
    while True:
        try:
            browser = await connect(f"ws://{HOST}:{port}/chat/", proxy=None, open_timeout=DEADLINE)
        except InvalidStatus as refused:
            return refused.response.status_code
        except InvalidHandshake:
            # Django's first imports took too long.
            if asyncio.get_running_loop().time() > until:
                raise
            continue
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(browser.recv(), DEADLINE)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code
