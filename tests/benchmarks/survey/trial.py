"""The arguments of a work: the contender's layer, parameters, and marks."""

from __future__ import annotations

import gc
import json
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.survey.contenders import CONTENDERS, make_layer
from benchmarks.survey.plan import SMALL

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """One round of a work: its job, and what it found.

    The work calls `begin` when all is set up and warm, and `end` when it is done; between the two,
    the process that started this one counts at the server and reads clocks.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.figures: dict[str, float] = {}
        self._stop = 0.0

    def begin(self) -> None:
        """Start what is measured; garbage of the set-up is no part of it."""
        gc.collect()
        gc.freeze()
        _tell({"mark": "begin"})
        sys.stdin.readline()
        self._stop = time.perf_counter() + self.job.seconds

    def unfinished(self) -> bool:
        """Return whether more is to be done."""
        return time.perf_counter() < self._stop

    def end(self, operations: int) -> None:
        """End what is measured, after so many operations."""
        _tell({"mark": "end", "operations": operations})
        sys.stdin.readline()

    def percentiles(self, samples: list[float], prefix: str = "") -> None:
        """Note the median and the 99th percentile of these durations, in seconds."""
        samples.sort()
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            self.figures[prefix + name] = samples[min(int(len(samples) * share), len(samples) - 1)]

    def report(self) -> None:
        """Send the figures to the process that started this one."""
        _tell({"figures": self.figures})


def _tell(what: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()
