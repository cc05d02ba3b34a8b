"""The system's own threads and locks, also where gevent has put greenlets in their place."""

from __future__ import annotations

import _thread
import importlib
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def patched_by_gevent() -> bool:
    """Tell whether threads are greenlets here."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def new_lock() -> Any:
    """Return an unlocked lock; waiting for it blocks the thread with all its greenlets."""
    return _original("allocate_lock")()


def start_thread(target: Callable[[], None], name: str) -> None:
    """Run `target` in a daemon thread.

    Raises:
        RuntimeError: No thread can be started: the interpreter is at its exit.
    """
    if patched_by_gevent():
        _original("start_new_thread")(target, ())
    else:
        threading.Thread(target=target, name=name, daemon=True).start()


def _original(name: str) -> Any:
    if patched_by_gevent():
        return importlib.import_module("gevent.monkey").get_original("_thread", name)
    return getattr(_thread, name)
