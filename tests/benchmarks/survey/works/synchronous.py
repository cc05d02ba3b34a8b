"""Callers without an event loop: views, tasks, signals."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from asgiref.sync import async_to_sync

from benchmarks.survey.contenders import CONTENDERS
from benchmarks.workloads import GROUP

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.survey.trial import Trial

WARM_UP = 20  # calls
IN_TURN = 50  # calls of one kind, before as many of the other


async def _nothing(_group: str, _message: object) -> None:
    """Do what `group_send` can't do less than."""


def synchronous(trial: Trial) -> None:
    """Call `group_send` of a group with one member, in turn with a coroutine that does nothing."""
    layer, message = trial.job.layer(), trial.job.message()
    if CONTENDERS[trial.job.contender].work_queue:
        # Without a member there would be nothing to write.
        async_to_sync(layer.group_add)(GROUP, "unread")
    calls = {"ours": async_to_sync(layer.group_send), "nothing": async_to_sync(_nothing)}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    with ThreadPoolExecutor(trial.job.parameters["threads"]) as threads:

        def one(name: str, call: Callable[[str, object], None]) -> None:
            began = time.perf_counter()
            call(GROUP, message)
            samples[name].append(time.perf_counter() - began)

        def some(name: str, times: int) -> float:
            began = time.perf_counter()
            for done in [threads.submit(one, name, calls[name]) for _ in range(times)]:
                done.result()
            return time.perf_counter() - began

        for name in calls:
            some(name, WARM_UP)
            samples[name].clear()
        trial.begin()
        took = dict.fromkeys(calls, 0.0)
        while trial.unfinished():
            for name in calls:
                took[name] += some(name, IN_TURN)
        trial.end(len(samples["ours"]))
    trial.figures["rate"] = len(samples["ours"]) / took["ours"]
    trial.figures["beside_nothing"] = took["ours"] / took["nothing"]
    trial.percentiles(samples["ours"])
