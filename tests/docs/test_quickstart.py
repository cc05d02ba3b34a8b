"""The project of the quick start does what its page says."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from embedded_server import HOST
from support import programs
from support.chromium import launch
from support.pages import DOCS, write_files
from support.sites import DEADLINE, client, daphne, start_project

if TYPE_CHECKING:
    from pathlib import Path

    from embedded_server import EmbeddedServer


@pytest.fixture
def project(tmp_path: Path, redis_server: EmbeddedServer) -> Path:
    """Do what the page says, up to running it."""
    return start_project(tmp_path, "quickstart.md", url=redis_server.url)


@pytest.mark.slow
async def test_page(project: Path) -> None:
    """The pages of both server processes show the words typed into one."""
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
    """The status that refuses a handshake, or the code that closes the WebSocket."""
    try:
        browser = await client(port)
    except InvalidStatus as refused:
        return refused.response.status_code
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(browser.recv(), DEADLINE)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code
