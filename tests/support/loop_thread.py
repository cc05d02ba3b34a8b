"""An event loop that runs in its own thread, besides the loop or the code of a test."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from support.messages import within

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from typing_extensions import Self

T = TypeVar("T")


class LoopThread:
    """An event loop that runs in its own thread.

    Args:
        without_cleanup: Leave out what `asyncio.run` does at the end: to cancel tasks, and to shut
            down asynchronous generators.
    """

    def __init__(self, *, without_cleanup: bool = False) -> None:
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._end = asyncio.Event()
        run = _run_without_cleanup if without_cleanup else asyncio.run
        self._thread = threading.Thread(target=lambda: run(self._wait()))
        self._thread.start()
        self.loop = self._ready.result()

    async def _wait(self) -> None:
        self._ready.set_result(asyncio.get_running_loop())
        await self._end.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.end()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run something there."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something there and return its result."""
        return await within(asyncio.wrap_future(self.start(work)))

    def end(self) -> None:
        """End the loop and its thread."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._end.set)
            self._thread.join()


def _run_without_cleanup(work: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(work)
    loop.close()
