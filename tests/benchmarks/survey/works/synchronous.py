"""Callers without an event loop: views, tasks, signals."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from asgiref.sync import async_to_sync

from benchmarks.survey.contenders import CONTENDERS
from benchmarks.workloads import GROUP

if TYPE_CHECKING:
    from benchmarks.survey.trial import Trial

WARM_UP = 20  # calls
AT_A_TIME = 50  # calls


def synchronous(trial: Trial) -> None:
    """Call `group_send` of a group with one member."""
    layer, message = trial.job.layer(), trial.job.message()
    if CONTENDERS[trial.job.contender].work_queue:
        # Without a member there would be nothing to write.
        async_to_sync(layer.group_add)(GROUP, "unread")
    call = async_to_sync(layer.group_send)
    samples: list[float] = []
    with ThreadPoolExecutor(trial.job.parameters["threads"]) as threads:

        def one() -> None:
            began = time.perf_counter()
            call(GROUP, message)
            samples.append(time.perf_counter() - began)

        def some(times: int) -> None:
            for done in [threads.submit(one) for _ in range(times)]:
                done.result()

        some(WARM_UP)
        samples.clear()
        trial.begin()
        began = time.perf_counter()
        while trial.unfinished():
            some(AT_A_TIME)
        trial.figures["rate"] = len(samples) / (time.perf_counter() - began)
        trial.end(len(samples))
    trial.percentiles(samples)
