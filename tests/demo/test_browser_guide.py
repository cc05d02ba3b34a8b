"""The code of two guides, on messages that survive reconnects and on presence, as it stands."""

from __future__ import annotations

import socket
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedded_server import HOST, EmbeddedServer
from support.pages import write_files
from support.sites import free_port, running
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from playwright.async_api import Browser, Page, WebSocket

    from support.layers import LayerClass

pytestmark = [pytest.mark.demo, pytest.mark.timeout(120)]

DEADLINE = 45.0  # seconds; generous, since Django has to start


@dataclass(frozen=True)
class Site:
    """A guide's site, which processes serve one after the other at the same address."""

    command: tuple[str, ...]
    environment: dict[str, str]
    port: int

    @property
    def url(self) -> str:
        """The address."""
        return f"http://{HOST}:{self.port}/"

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """Serve it, and at the end kill the process; connections wait until that is ready."""
        with socket.create_server((HOST, self.port)) as listening:
            number = listening.fileno()
            command = (*self.command, "--fd", str(number))
            async with running(*command, cwd=None, files=[number], **self.environment):
                listening.close()
                yield


def site_of(guide: str, layer_class: LayerClass, redis: EmbeddedServer, folder: Path) -> Site:
    """Return the site of a guide."""
    write_files(f"{guide}.md", folder)
    uvicorn = (sys.executable, "-m", "uvicorn", f"{guide}_site:application", "--lifespan", "off")
    environment = {
        "GUIDE_FOLDER": str(folder),
        "GUIDE_BACKEND": f"{layer_class.__module__}.{layer_class.__qualname__}",
        "GUIDE_REDIS_URL": redis.url,
    }
    return Site((*uvicorn, "--app-dir", str(Path(__file__).parent)), environment, free_port())


def shows(page: Page, *texts: str) -> Callable[[], Awaitable[bool]]:
    """Return a function that says whether the page shows these messages, in this order."""

    async def shown() -> bool:
        return await page.locator("li").all_inner_texts() == list(texts)

    return shown


async def test_recovery(browser: Browser, layer_class: LayerClass, tmp_path: Path) -> None:
    """A page whose process is killed has all messages, and has said all, once another serves it."""
    with EmbeddedServer() as redis:
        layer = layer_class([redis.url], history={"chat.*": {}})

        async def send(text: str) -> None:
            await layer.group_send("chat.lobby", {"type": "chat.message", "text": text})

        site = site_of("recovery", layer_class, redis, tmp_path)
        page = await browser.new_page()
        async with site.served():
            await send("before")
            await page.goto(site.url)
            await eventually(shows(page, "before"), DEADLINE)
            await page.evaluate("say('hello')")
            await eventually(shows(page, "before", "hello"), DEADLINE)
        await page.wait_for_function("closed")
        for word in ("typed", "meanwhile"):
            await page.evaluate(f"say('{word}')")
        for number in range(30):
            await send(str(number))
        missed = [*(str(number) for number in range(30)), "typed", "meanwhile"]
        async with site.served():
            await eventually(shows(page, "before", "hello", *missed), DEADLINE)
            assert await page.evaluate("reloads") == 0
        with redis.client() as client:
            client.flushall()
        await send("after")
        async with site.served():
            await eventually(shows(page, "before", "hello", *missed, "after"), DEADLINE)
            assert await page.evaluate("reloads") == 1
        await page.close()
        await layer.close_pools()


async def test_presence(browser: Browser, layer_class: LayerClass, tmp_path: Path) -> None:
    """Guests are people with all their tabs, and none gets another's cookie."""
    with EmbeddedServer() as redis:
        site = site_of("presence", layer_class, redis, tmp_path)
        async with site.served():
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
            assert not [frame for frame in frames if any(cookie in frame for cookie in cookies)]
            await guests[1].close()
            await eventually(shows(tabs[0], "Guest"), DEADLINE)
            await guests[0].close()
