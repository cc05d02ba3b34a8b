"""A headless Chromium, of those that are installed."""

from __future__ import annotations

import importlib
import os
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser

# Set to 1 where a machine without a browser must not pass.
REQUIRED = "CHANNELS_REDIS_REQUIRE_BROWSER"
COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@asynccontextmanager
async def launch() -> AsyncIterator[Browser]:
    """Launch one for the block. Skip the test if there is none; fail it where it must be."""
    try:
        playwright = importlib.import_module("playwright.async_api")
    except ImportError:
        _do_without("playwright is not installed")
    found = next(filter(None, map(shutil.which, COMMANDS)), None)
    if found is None:
        _do_without(f"none of {', '.join(COMMANDS)} is on PATH")
    async with playwright.async_playwright() as driver:
        launched: Browser = await driver.chromium.launch(executable_path=found)
        yield launched
        await launched.close()


def _do_without(reason: str) -> NoReturn:
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{reason}, and {REQUIRED}=1 requires a browser", pytrace=False)
    pytest.skip(f"no browser: {reason}")
