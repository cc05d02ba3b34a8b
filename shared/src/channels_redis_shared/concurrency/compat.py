"""Gives every supported Python the same `timeout`, and starts and ends tasks of the layer."""

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

# Seconds after which a task that goes on is cancelled again.
_PATIENCE = 0.1


def start_task(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task of the layer's own in the running event loop.

    Its context is empty, as it outlives the consumer that started it. And it never begins before
    this returns, whatever the loop's task factory does: `asyncio.eager_task_factory` would run it
    before its caller has stored it.
    """
    loop = asyncio.get_running_loop()
    task = contextvars.Context().run(partial(asyncio.Task, coroutine, loop=loop))
    # It ends with its event loop, also with one that is closed without a word to its tasks.
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
    return task


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and return when it has ended.

    It may take more than one call of `cancel`: on Python 3.10 a `timeout` that runs out in the
    same turn of the loop swallows the cancellation.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_PATIENCE)
