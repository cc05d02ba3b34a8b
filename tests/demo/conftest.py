"""Runs the demo as people do: as a process, and its pages in a headless browser."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from embedded_server import dies_with_parent
from support.chromium import launch
from support.layers import layer_class
from support.tab import Tab
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from playwright.async_api import Browser

__all__ = ["layer_class"]

DEMO = Path(__file__).parent.parent.parent / "docs" / "examples" / "chat" / "demo.py"
TIMEOUT = 45  # seconds; generous, two Django processes start


class OpenTab(Protocol):
    """Opens pages of the chat."""

    def __call__(self, url: str, name: str, **options: Any) -> Awaitable[Tab]:
        """Open a server's page under this name; options of a browser's context."""


class Demo:
    """A running demo, and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output = ""
        # All the time: a process that prints into a full pipe stands still.
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.output += line.decode()

    async def read_until(self, text: str) -> str:
        """Wait until the demo has printed ``text``, and return all that it printed."""
        await eventually(lambda: text in self.output or self._reading.done(), TIMEOUT)
        assert text in self.output, f"{text!r} did not come before the end of:\n{self.output}"
        return self.output

    async def end(self) -> int:
        """Wait until the demo has ended, and return its exit status."""
        await asyncio.wait_for(self._reading, TIMEOUT)
        return await self.process.wait()

    async def urls(self) -> dict[str, str]:
        """Wait until the demo is ready, and return each server's URL."""
        return dict(re.findall(r"Server (\w): (http\S+)", await self.read_until("Ctrl-C")))

    def children(self) -> list[int]:
        """The ids of the processes that the demo started."""
        pid = self.process.pid
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    async def close(self) -> None:
        """Make sure that it is gone. A test that failed shows what it printed."""
        if self.process.returncode is None:
            self.process.terminate()
        await self.end()
        sys.stdout.write(self.output)


@pytest.fixture
def temporary_folder() -> Iterator[Path]:
    """Yield the folder of a demo's temporary files, with a short name; none may be left.

    The name of ``tmp_path`` takes most of the 108 bytes that a UNIX socket's name may have.
    """
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        yield Path(folder)
        assert not list(Path(folder).iterdir())


@pytest.fixture
async def start_demo(
    temporary_folder: Path,
) -> AsyncIterator[Callable[..., Awaitable[Demo]]]:
    """Yield a coroutine function that starts the demo with command line arguments.

    Its temporary files go to ``temporary_folder``. Python looks for modules in ``before`` first.
    """
    async with AsyncExitStack() as stack:

        async def start(*arguments: str, before: Path | None = None, **environment: str) -> Demo:
            path = [str(before)] if before else []
            options: dict[str, Any] = {
                "stdout": asyncio.subprocess.PIPE,
                "stderr": asyncio.subprocess.STDOUT,
                "preexec_fn": dies_with_parent(),
                "env": {
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join([*path, *filter(None, sys.path)]),
                    "TMPDIR": str(temporary_folder),
                    **environment,
                },
            }
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(DEMO), *arguments, **options
            )
            demo = Demo(process)
            stack.push_async_callback(demo.close)
            return demo

        yield start


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Yield a Chromium without a window."""
    async with launch() as launched:
        yield launched


@pytest.fixture
async def open_tab(
    browser: Browser,
    start_demo: object,  # noqa: ARG001 - demos stop after the pages have closed
) -> AsyncIterator[OpenTab]:
    """Yield a coroutine function that opens pages. Each must stay without an error to the end."""
    tabs: list[Tab] = []
    async with AsyncExitStack() as stack:

        async def start(url: str, name: str, **options: Any) -> Tab:
            # A new context is what another person's browser is.
            context = await browser.new_context(**options)
            stack.push_async_callback(context.close)
            tab = Tab(await context.new_page())
            tabs.append(tab)
            await tab.go(url, name)
            return tab

        yield start
    assert [tab.errors for tab in tabs if tab.errors] == []


@dataclass(frozen=True)
class Chat:
    """A demo with two people, each at a server process and with a browser."""

    demo: Demo
    urls: dict[str, str]
    ada: Tab
    bob: Tab


@pytest.fixture(params=["queue", "pubsub"])
async def chat(
    request: pytest.FixtureRequest,
    start_demo: Callable[..., Awaitable[Demo]],
    open_tab: OpenTab,
) -> Chat:
    """A chat through each layer in turn, in which both are there."""
    demo = await start_demo("--layer", request.param)
    urls = await demo.urls()
    ada, bob = await open_tab(urls["A"], "Ada"), await open_tab(urls["B"], "Bob")
    for tab in (ada, bob):
        await tab.shows("#people li", "Ada server A", "Bob server B")
    return Chat(demo, urls, ada, bob)
