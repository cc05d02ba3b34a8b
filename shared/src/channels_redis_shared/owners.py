"""Tells when the task that made a channel has ended: its consumer has gone with it.

A consumer of Channels makes its channel in its own task, and receives in others, one for each
message. It cancels the last of them when it ends; but not if that has its message already, as when
a handler failed, or a browser left a busy group. Then nothing but the end of the task tells.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Owners:
    """The tasks that made the channels of a process. Threads may share it.

    A task counts as the owner of the first channel that it makes. One that makes more is no
    consumer, and must not gather their names for as long as it lives.

    Args:
        ended: Called with a channel on which somebody has received, when its owner has ended.
    """

    def __init__(self, ended: Callable[[str], object]) -> None:
        self._on_end = ended
        self._lock = threading.Lock()
        self._tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        # Channels on which nobody has received yet, whose owners live. Who receives takes them out.
        self.unheard: set[str] = set()

    def made(self, channel: str) -> None:
        """Note that the running task has made a channel."""
        task = asyncio.current_task()
        if task is None:
            return
        with self._lock:
            if task in self._tasks:
                return
            self._tasks.add(task)
        self.unheard.add(channel)
        task.add_done_callback(partial(self._ended, channel))

    def _ended(self, channel: str, _task: object) -> None:
        # Made in a task and received from later, as synchronous code does: that was no consumer.
        if channel in self.unheard:
            self.unheard.discard(channel)
        else:
            self._on_end(channel)
