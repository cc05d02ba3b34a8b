"""The arguments of a work: the contender's layer, parameters, and marks."""

from __future__ import annotations

import gc
import itertools
import json
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.survey.contenders import CONTENDERS, make_layer
from benchmarks.survey.plan import SMALL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from channels.layers import BaseChannelLayer


@dataclass(frozen=True)
class Job:
    """One round of a work on a contender, as sent to its process.

    Args:
        contender: Its name.
        hosts: What its servers are, in the form that its layer takes.
        work: The name of the work.
        parameters: The work's parameters.
        options: More of the layer's options.
        seconds: The least time to measure for.
    """

    contender: str
    hosts: list[Any]
    work: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.7

    def layer(self) -> BaseChannelLayer:
        """Construct a layer for it."""
        return make_layer(CONTENDERS[self.contender], self.hosts, self.options)

    def message(self, **more: Any) -> dict[str, Any]:
        """Return a message of the requested size."""
        size = self.parameters.get("payload", SMALL)
        return {"type": "bench.message", "text": "x" * size, **more}


class Trial:
    """One round of a work: its job, and its figures.

    The work calls `begin` when all is set up and warm, and `end` when it is done, or hands a pass
    to `repeat` or `repeat_blocking`. Between the marks, the process that started this one counts at
    the server and reads clocks.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.figures: dict[str, float] = {}
        self._stop = 0.0

    def begin(self) -> None:
        """Start what is measured; garbage of the set-up is no part of it."""
        gc.collect()
        gc.freeze()
        say({"mark": "begin"})
        sys.stdin.readline()
        self._stop = time.perf_counter() + self.job.seconds

    def unfinished(self) -> bool:
        """Return whether more is to be done."""
        return time.perf_counter() < self._stop

    def end(self, operations: int) -> None:
        """End what is measured, after so many operations."""
        say({"mark": "end", "operations": operations})
        sys.stdin.readline()

    async def repeat(
        self,
        one_pass: Callable[[int], Awaitable[float | None]],
        *,
        warm_up: int = 2,
        at_least: int = 1,
        operations: int = 1,
        before: Callable[[], Awaitable[object]] | None = None,
    ) -> Samples:
        """Do passes until the time is over; each gets its number, and may return how long it took.

        Args:
            one_pass: The work.
            warm_up: Passes that are not measured: they open connections and load scripts.
            at_least: Passes that are measured, however long they take.
            operations: Those of a pass, for what is counted at the server.
            before: What each pass needs, which is not measured.
        """
        samples = Samples(operations)
        for number in itertools.count():
            if number == warm_up:
                self.begin()
                samples.restart()
            if number >= warm_up + at_least and not self.unfinished():
                break
            if before is not None:
                await before()
            began = time.perf_counter()
            took = await one_pass(number)
            samples.add(time.perf_counter() - began if took is None else took)
        self.end(len(samples.seconds) * operations)
        return samples

    def repeat_blocking(self, some: Callable[[int], object], *, each: int) -> float:
        """Do `each` calls again and again, after 20; return the calls in a second."""
        some(20)
        self.begin()
        began, calls = time.perf_counter(), 0
        while self.unfinished():
            some(each)
            calls += each
        took = time.perf_counter() - began
        self.end(calls)
        return calls / took

    def percentiles(self, samples: list[float], prefix: str = "") -> None:
        """Note the median and the 99th percentile of these durations, in seconds."""
        samples.sort()
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            self.figures[prefix + name] = samples[min(int(len(samples) * share), len(samples) - 1)]

    def report(self) -> None:
        """Send the figures to the process that started this one."""
        say({"figures": self.figures})


class Samples:
    """The durations of passes, in seconds."""

    def __init__(self, operations: int) -> None:
        self.seconds: list[float] = []
        self._operations = operations
        self._began = 0.0

    def restart(self) -> None:
        """Forget the warm-up."""
        self.seconds.clear()
        self._began = time.perf_counter()

    def add(self, seconds: float) -> None:
        """Note a pass."""
        self.seconds.append(seconds)
        self._ended = time.perf_counter()

    def rate(self) -> float:
        """Return the operations in a second."""
        return len(self.seconds) * self._operations / (self._ended - self._began)


def say(what: Any) -> None:
    """Write a line of JSON to the process that started this one."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()
