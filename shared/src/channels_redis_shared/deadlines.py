"""Gives every supported Python the same `timeout`, and an end to tasks that use it."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout

__all__ = ["end_task", "timeout"]

# Seconds after which a task that goes on is cancelled again.
_PATIENCE = 0.1


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and return when it has ended.

    It may take more than one call of `cancel`: on Python 3.10 a `timeout` that runs out in the
    same turn of the loop swallows the cancellation.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_PATIENCE)
