"""A headless browser, and pages of the chat in it."""

from __future__ import annotations

import importlib
import os
import shutil
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import pytest

from browser.tab import Tab
from demo.conftest import start_demo, temporary_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from playwright.async_api import Browser

__all__ = ["start_demo", "temporary_folder"]

# Set to 1 where a machine without a browser must not pass.
REQUIRED = "CHANNELS_REDIS_REQUIRE_BROWSER"
COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class OpenTab(Protocol):
    """Opens pages of the chat."""

    def __call__(self, url: str, name: str, **options: Any) -> Awaitable[Tab]:
        """Open a server's page as somebody of this name; options of a browser's context."""


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Give a Chromium without a window. Skip if there is none; fail instead where it must be."""
    try:
        playwright = importlib.import_module("playwright.async_api")
    except ImportError:
        do_without("playwright is not installed")
    found = next(filter(None, map(shutil.which, COMMANDS)), None)
    if found is None:
        do_without(f"none of {', '.join(COMMANDS)} is on PATH")
    async with playwright.async_playwright() as driver:
        launched: Browser = await driver.chromium.launch(executable_path=found)
        yield launched
        await launched.close()


def do_without(reason: str) -> NoReturn:
    """Skip the test, or fail it where a browser is required."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{reason}, and {REQUIRED}=1 requires a browser", pytrace=False)
    pytest.skip(f"no browser: {reason}")


@pytest.fixture
async def open_tab(browser: Browser) -> AsyncIterator[OpenTab]:
    """Give a coroutine function that opens pages. Each must stay without an error to the end."""
    tabs: list[Tab] = []
    async with AsyncExitStack() as stack:

        async def start(url: str, name: str, **options: Any) -> Tab:
            # A context of its own is what another person's browser is.
            context = await browser.new_context(**options)
            stack.push_async_callback(context.close)
            tab = Tab(await context.new_page())
            tabs.append(tab)
            await tab.go(url, name)
            return tab

        yield start
    assert [tab.errors for tab in tabs if tab.errors] == []
