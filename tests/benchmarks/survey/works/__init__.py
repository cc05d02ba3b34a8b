"""The work that is measured, by its name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from benchmarks.survey.trial import Trial

    Work = Callable[[Trial], Coroutine[None, None, None] | None]

# A function for each, found when it is needed: not every contender's environment has redis-py.
WORKS = {
    "one-in-flight": "direct.one_in_flight",
    "many-channels": "direct.many_channels",
    "fan-out": "fan_out.fan_out",
    "broadcasts": "groups.broadcasts",
    "sockets": "sockets.sockets",
    "churn": "groups.churn",
    "workers": "workers.workers",
    "synchronous": "synchronous.synchronous",
    "idle": "idle.idle",
    "load": "load.load",
    "replay": "replaying.replay",
}


def work_of(name: str) -> Work:
    """Return the work of this name.

    Raises:
        KeyError: There is none.
    """
    module, _, function = WORKS[name].rpartition(".")
    found: Work = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    return found
