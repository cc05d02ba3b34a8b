"""Keep one value for each process: a fork's child makes its own."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Kept = TypeVar("Kept")

# The number of forks between the first process and this one. Compared with every message, so not
# by getpid, which is a system call.
_forks = 0


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 - that is what it is: a fact about the process
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class ProcessLocal(Generic[Kept]):
    """One value for each process, made at the first use."""

    def __init__(self, make: Callable[[], Kept]) -> None:
        self._make = make
        self._reset()

    def _reset(self) -> None:
        # The lock as well: the fork may have happened while another thread held it.
        self._lock = threading.Lock()
        self._kept: list[Kept] = []
        self._forks = _forks

    def get(self) -> Kept:
        """Return this process's value."""
        if self._forks != _forks:
            # Kept alive, and not closed: parent and child share the sockets and the selector, so
            # closing here would stop the parent's events.
            self._inherited = self._kept
            self._reset()
        if not self._kept:
            with self._lock:
                if not self._kept:
                    self._kept.append(self._make())
        return self._kept[0]
