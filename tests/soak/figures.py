"""The resources that a worker's process has now, and their growth."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import inside

if TYPE_CHECKING:
    from channels.layers import BaseChannelLayer

_PROCESS = Path("/proc/self")
MIB = 2**20
# By what share a figure may grow, or by how much if that is more. A thing too many at each fault is
# a leak, however small. The first time is early, when caches are not full yet, and an allocator
# does not give back every page. Objects do not depend on pages: some for each of the hundreds of
# consumers of five minutes are more than this. But an event loop closed without cleanup is kept
# until the next one, with some hundred objects.
LIMITS = {
    **dict.fromkeys(("tasks", "threads", "connections", "descriptors"), (0.0, 0)),
    **dict.fromkeys(("loops", "mailboxes", "readers"), (0.0, 0)),
    "rss": (0.1, 8 * MIB),
    "objects": (0.02, 1000),
}


def grown(before: dict[str, int], after: dict[str, int]) -> list[str]:
    """Return the figures that have grown by more than they may."""
    return [
        f"{name}: {before[name]} before, {after[name]} after"
        for name, (share, amount) in LIMITS.items()
        if after[name] > before[name] + max(int(before[name] * share), amount)
    ]


def figures(layer: BaseChannelLayer) -> dict[str, int]:
    """Return the numbers of a layer's process that must not grow.

    Garbage is collected first, and the system gets what the allocator keeps: neither says anything
    of a leak.
    """
    gc.collect()
    _trim()
    found = layer.statistics()
    return {
        "rss": _rss(),
        "objects": len(gc.get_objects()),
        "tasks": sum(map(_is_of_the_layer, asyncio.all_tasks())),
        # The system's: `threading` knows that of the layer only once something is logged in it.
        "threads": len(list((_PROCESS / "task").iterdir())),
        "descriptors": len(list((_PROCESS / "fd").iterdir())),
        "mailboxes": found.mailboxes,
        "readers": _readers(layer),
        # Those that the layer keeps something for.
        "loops": len(inside.brokers(layer)),
    }


def _is_of_the_layer(task: asyncio.Task[Any]) -> bool:
    """Return whether a task runs the layer's own code: those of consumers vary."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is not None and frame.f_globals["__name__"].startswith("channels_redis")


def _rss() -> int:
    return int((_PROCESS / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _trim() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)


def _readers(layer: BaseChannelLayer) -> int:
    # A look inside: no statistics count receivers or open channels, which stay without messages.
    if hasattr(layer, "client_prefix"):
        return len(inside.receivers(layer))
    return sum(len(broker.hub.channels()) for broker in inside.brokers(layer))
