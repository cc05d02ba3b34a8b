"""The code of the guide on messages that survive reconnects, as it stands."""

from __future__ import annotations

import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedded_server import HOST, EmbeddedServer
from support.pages import write_files
from support.sites import running
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Browser, Page

    from support.layers import LayerClass

pytestmark = [pytest.mark.demo, pytest.mark.timeout(120)]

DEADLINE = 45.0  # seconds; generous, since Django has to start
UVICORN = (
    *(sys.executable, "-m", "uvicorn", "recovery_site:application", "--lifespan", "off"),
    *("--app-dir", str(Path(__file__).parent)),
)


def shows(page: Page, *texts: str) -> Callable[[], Awaitable[bool]]:
    """A function that says whether the page shows these messages, in this order."""

    async def shown() -> bool:
        return await page.locator("li").all_inner_texts() == list(texts)

    return shown


async def test_recovery(browser: Browser, layer_class: LayerClass, tmp_path: Path) -> None:
    """A page is complete, and has said all, once another process serves it after a crash."""
    # Connections wait in the socket while no process serves it.
    with EmbeddedServer() as redis, socket.create_server((HOST, 0)) as listening:
        layer = layer_class([redis.url], history={"chat.*": {}})

        async def send(text: str) -> None:
            await layer.group_send("chat.lobby", {"type": "chat.message", "text": text})

        write_files("recovery.md", tmp_path)
        number = listening.fileno()
        serve = partial(
            running,
            *(*UVICORN, "--fd", str(number)),
            files=[number],
            GUIDE_FOLDER=str(tmp_path),
            GUIDE_BACKEND=f"{layer_class.__module__}.{layer_class.__qualname__}",
            GUIDE_REDIS_URL=redis.url,
        )
        page = await browser.new_page()
        async with serve():
            await send("before")
            await page.goto(f"http://{HOST}:{listening.getsockname()[1]}/")
            await eventually(shows(page, "before"), DEADLINE)
            await page.evaluate("say('hello')")
            await eventually(shows(page, "before", "hello"), DEADLINE)
        await page.wait_for_function("closed")
        for word in ("typed", "meanwhile"):
            await page.evaluate(f"say('{word}')")
        for number in range(30):
            await send(str(number))
        missed = [*(str(number) for number in range(30)), "typed", "meanwhile"]
        async with serve():
            await eventually(shows(page, "before", "hello", *missed), DEADLINE)
            assert await page.evaluate("reloads") == 0
        with redis.client() as client:
            client.flushall()
        await send("after")
        async with serve():
            await eventually(shows(page, "before", "hello", *missed, "after"), DEADLINE)
            assert await page.evaluate("reloads") == 1
        await page.close()
        await layer.close_pools()
