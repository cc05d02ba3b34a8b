"""Decide which event loops may block, so that their commands use the process's connections.

Each `async_to_sync` call outside of a running loop has an event loop of its own, and so has each
`asyncio.run`. A connection in such a loop would be opened for one command.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

from ..transport.commands import Shards
from .client import BlockingCommandClient
from .pool import synchronous_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..ops.statistics import Counters
    from ..transport.commands import Script
    from ..transport.connector import Connector

# Calls after which a loop is taken for one that lasts, and gets connections of its own.
SHORT_LIVED_CALLS = 10


class SynchronousCallers:
    """The command connections of a process for event loops that may block.

    Args:
        connectors: One for each host.
        scripts: Loaded where a server lacks one.
        counters: Count commands and round trips.
        by_key: As for `shards_to`.
    """

    def __init__(
        self,
        connectors: Sequence[Connector],
        scripts: Sequence[Script],
        counters: Counters,
        *,
        by_key: bool = True,
    ) -> None:
        self._shards: Shards | None = None
        if all(synchronous_arguments(connector.host) for connector in connectors):
            self._shards = Shards(
                [BlockingCommandClient(one, scripts, counters, by_key=by_key) for one in connectors]
            )
        self._calls: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, int] = (
            weakref.WeakKeyDictionary()
        )

    def shards(self) -> Shards | None:
        """Return the process's connections if the running loop may block, else None."""
        if self._shards is None:
            return None
        loop = asyncio.get_running_loop()
        calls = self._calls.get(loop, 0)
        # uvloop does not show whether a loop has timers or sockets.
        limit = SHORT_LIVED_CALLS if hasattr(loop, "_scheduled") else 1
        if calls >= limit or not _has_nothing_else_to_do(loop):
            return None
        self._calls[loop] = calls + 1
        return self._shards

    async def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        if self._shards is not None:
            await self._shards.close()


def _has_nothing_else_to_do(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether the running loop only serves the current call.

    It is in `run_until_complete` with the current task, or a thread in `async_to_sync` waits for
    it. A server has other tasks, timers, or sockets.
    """
    task = asyncio.current_task(loop)
    if task is None or not _is_synchronous_call(task):
        return False
    if getattr(loop, "_ready", None) or any(
        not timer.cancelled() for timer in getattr(loop, "_scheduled", ())
    ):
        return False
    sockets: Mapping[Any, Any] = getattr(getattr(loop, "_selector", None), "get_map", dict)()
    # The loop has one of its own, to be woken by.
    return len(sockets) <= 1 and all(map(_is_synchronous_call, asyncio.all_tasks(loop)))


def _is_synchronous_call(task: asyncio.Task[Any]) -> bool:
    """Return whether a thread without an event loop of its own waits for the task."""
    if getattr(task.get_coro(), "__qualname__", "") == "AsyncToSync.main_wrap":
        return True
    callbacks = getattr(task, "_callbacks", None) or ()
    return any(
        "run_until_complete" in getattr(callback, "__qualname__", "") for callback, _ in callbacks
    )
