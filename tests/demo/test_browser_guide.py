"""The consumer and the script of the guide on messages that survive reconnects."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedded_server import HOST, EmbeddedServer, dies_with_parent
from support.pages import write_files
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from playwright.async_api import Browser, Page

    from support.layers import LayerClass

pytestmark = [pytest.mark.demo, pytest.mark.timeout(120)]

DEADLINE = 45.0  # seconds; generous, since Django has to start


class Site:
    """The guide's site: processes that one after the other serve the same address.

    Args:
        environment: The processes' environment.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        with socket.socket() as unused:
            unused.bind((HOST, 0))
            self._port = unused.getsockname()[1]
        self.url = f"http://{HOST}:{self._port}/"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start a process. Connections wait until it is ready."""
        with socket.create_server((HOST, self._port)) as listening:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "uvicorn", "guide_site:application", "--lifespan", "off"),
                *("--app-dir", str(Path(__file__).parent), "--fd", str(listening.fileno())),
                env=self._environment,
                pass_fds=[listening.fileno()],
                preexec_fn=dies_with_parent(),
            )

    async def kill(self) -> None:
        """End the process, as a crash does."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None


@asynccontextmanager
async def running_site(
    layer_class: LayerClass, redis: EmbeddedServer, folder: Path
) -> AsyncIterator[Site]:
    """Run the site of the guide."""
    write_files("recovery.md", folder)
    site = Site(
        {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "GUIDE_FOLDER": str(folder),
            "GUIDE_BACKEND": f"{layer_class.__module__}.{layer_class.__qualname__}",
            "GUIDE_REDIS_URL": redis.url,
        }
    )
    await site.start()
    try:
        yield site
    finally:
        await site.kill()


def shows(page: Page, *texts: str) -> Callable[[], Awaitable[bool]]:
    """Return a function that says whether the page shows these messages, in this order."""

    async def found() -> bool:
        return await page.locator("li").all_inner_texts() == list(texts)

    return found


async def test_guide(browser: Browser, layer_class: LayerClass, tmp_path: Path) -> None:
    """A page whose process is killed has all messages once another one serves it."""
    with EmbeddedServer() as redis:
        layer = layer_class([redis.url], history={"chat.*": {}})

        async def send(text: str) -> None:
            await layer.group_send("chat.lobby", {"type": "chat.message", "text": text})

        async with running_site(layer_class, redis, tmp_path) as site:
            page = await browser.new_page()
            await send("before")
            await page.goto(site.url)
            await eventually(shows(page, "before"), DEADLINE)
            await page.evaluate("say('hello')")
            await eventually(shows(page, "before", "hello"), DEADLINE)
            await site.kill()
            for number in range(30):
                await send(str(number))
            missed = [str(number) for number in range(30)]
            await site.start()
            await eventually(shows(page, "before", "hello", *missed), DEADLINE)
            assert await page.evaluate("reloads") == 0
            await site.kill()
            with redis.client() as client:
                client.flushall()
            await send("after")
            await site.start()
            await eventually(shows(page, "before", "hello", *missed, "after"), DEADLINE)
            assert await page.evaluate("reloads") == 1
            await page.close()
        await layer.close_pools()
