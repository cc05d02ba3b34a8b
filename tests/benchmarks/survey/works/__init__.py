"""The work that is measured, by its name in the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.survey.works import direct, fan_out, groups, idle, load, synchronous, workers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from benchmarks.survey.trial import Trial

WORKS: dict[str, Callable[[Trial], Coroutine[None, None, None] | None]] = {
    "one-in-flight": direct.one_in_flight,
    "many-channels": direct.many_channels,
    "fan-out": fan_out.fan_out,
    "broadcasts": groups.broadcasts,
    "churn": groups.churn,
    "workers": workers.workers,
    "synchronous": synchronous.synchronous,
    "idle": idle.idle,
    "load": load.load,
}
