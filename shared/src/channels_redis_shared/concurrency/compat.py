"""Provide `timeout` on every supported Python, and start and end tasks."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["end_task", "start_task", "timeout"]

# Seconds after which a task that still runs is cancelled again.
_CANCEL_INTERVAL = 0.1


def start_task(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a background task in the running event loop.

    Its context is empty, as it outlives the consumer that started it. It never begins before this
    returns: a loop's `asyncio.eager_task_factory` would run it before its caller has stored it.
    """
    loop = asyncio.get_running_loop()
    task = contextvars.Context().run(partial(asyncio.Task, coroutine, loop=loop))
    # It ends with its event loop, also with one that is closed without a word to its tasks.
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
    return task


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and wait until it has ended.

    One call of `cancel` may not be enough: on Python 3.10 a `timeout` that expires in the same turn
    of the loop swallows the cancellation.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_INTERVAL)
