"""A headless Chromium, of those that are installed."""

from __future__ import annotations

import importlib
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from support.environments import missing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser

# Set where a machine without a browser must not pass.
REQUIRED = "CHANNELS_REDIS_REQUIRE_BROWSER"
COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@asynccontextmanager
async def launch() -> AsyncIterator[Browser]:
    """Launch one for the block. Skip the test if there is none; fail it where it must be."""
    try:
        playwright = importlib.import_module("playwright.async_api")
    except ImportError:
        missing("there is no browser: playwright is not installed", REQUIRED)
    found = next(filter(None, map(shutil.which, COMMANDS)), None)
    if found is None:
        missing(f"there is no browser: none of {', '.join(COMMANDS)} is on PATH", REQUIRED)
    async with playwright.async_playwright() as driver:
        launched: Browser = await driver.chromium.launch(executable_path=found)
        yield launched
        await launched.close()
