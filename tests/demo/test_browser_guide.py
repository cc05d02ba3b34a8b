"""The code of two guides, on messages that survive reconnects and on presence, as it stands."""

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
from support.sites import free_port
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from playwright.async_api import Browser, Page, WebSocket

    from support.layers import LayerClass

pytestmark = [pytest.mark.demo, pytest.mark.timeout(120)]

DEADLINE = 45.0  # seconds; generous, since Django has to start


class Site:
    """A guide's site: processes that one after the other serve the same address.

    Args:
        module: The name of the ASGI application's module.
        environment: The processes' environment.
    """

    def __init__(self, module: str, environment: dict[str, str]) -> None:
        self._module = module
        self._environment = environment
        self._port = free_port()
        self.url = f"http://{HOST}:{self._port}/"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start a process. Connections wait until it is ready."""
        with socket.create_server((HOST, self._port)) as listening:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "uvicorn", f"{self._module}:application"),
                *("--lifespan", "off"),
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
    guide: str, layer_class: LayerClass, redis: EmbeddedServer, folder: Path
) -> AsyncIterator[Site]:
    """Run the site of a guide."""
    write_files(f"{guide}.md", folder)
    site = Site(
        f"{guide}_site",
        {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "GUIDE_FOLDER": str(folder),
            "GUIDE_BACKEND": f"{layer_class.__module__}.{layer_class.__qualname__}",
            "GUIDE_REDIS_URL": redis.url,
        },
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


async def test_recovery(browser: Browser, layer_class: LayerClass, tmp_path: Path) -> None:
    """A page whose process is killed has all messages, and has said all, once another serves it."""
    with EmbeddedServer() as redis:
        layer = layer_class([redis.url], history={"chat.*": {}})

        async def send(text: str) -> None:
            await layer.group_send("chat.lobby", {"type": "chat.message", "text": text})

        async with running_site("recovery", layer_class, redis, tmp_path) as site:
            page = await browser.new_page()
            await send("before")
            await page.goto(site.url)
            await eventually(shows(page, "before"), DEADLINE)
            await page.evaluate("say('hello')")
            await eventually(shows(page, "before", "hello"), DEADLINE)
            await site.kill()
            await page.wait_for_function("closed")
            for word in ("typed", "meanwhile"):
                await page.evaluate(f"say('{word}')")
            for number in range(30):
                await send(str(number))
            missed = [*(str(number) for number in range(30)), "typed", "meanwhile"]
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


async def test_presence(browser: Browser, layer_class: LayerClass, tmp_path: Path) -> None:
    """Guests are people with all their tabs, and none gets another's cookie."""
    with EmbeddedServer() as redis:
        async with running_site("presence", layer_class, redis, tmp_path) as site:
            guests = [await browser.new_context() for _ in range(2)]
            tabs = [await guest.new_page() for guest in (guests[0], guests[0], guests[1])]
            frames: list[str] = []

            def note(socket: WebSocket) -> None:
                socket.on("framereceived", lambda frame: frames.append(str(frame)))

            for tab in tabs:
                tab.on("websocket", note)
                await tab.goto(f"{site.url}rooms/kitchen/")
            for tab in tabs:
                await eventually(shows(tab, "Guest", "Guest"), DEADLINE)
            cookies = [cookie["value"] for guest in guests for cookie in await guest.cookies()]
            assert len(cookies) == 2
            assert len(frames) >= len(tabs)
            assert not [one for one in frames if any(cookie in one for cookie in cookies)]
            await guests[1].close()
            await eventually(shows(tabs[0], "Guest"), DEADLINE)
            await guests[0].close()
