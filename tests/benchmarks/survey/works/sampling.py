"""Looks, a thousand times a second, where the process is while it does a work.

A look costs some 10 us, a hundredth of the time, whatever is looked at; a tracing profiler slows
small functions down more than large ones, and so finds what it has made slow itself.
"""

from __future__ import annotations

import collections
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.survey.trial import Trial
from benchmarks.survey.works import work_of

if TYPE_CHECKING:
    from types import FrameType

    from benchmarks.survey.trial import Job

INTERVAL = 0.001  # seconds


class Sampler:
    """Counts the stacks of the main thread, by the clock: waiting counts as well."""

    def __init__(self) -> None:
        self.stacks: collections.Counter[str] = collections.Counter()

    def start(self) -> None:
        """Begin to look."""
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, INTERVAL, INTERVAL)

    def stop(self) -> None:
        """Stop sampling."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _look(self, _signal: int, frame: FrameType | None) -> None:
        places = []
        while frame is not None:
            places.append(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")
            frame = frame.f_back
        self.stacks[";".join(reversed(places))] += 1

    def save(self, file: Path) -> None:
        """Write the stacks as tools for flame graphs read them: one a line, the outermost first."""
        lines = [f"{stack} {count}\n" for stack, count in self.stacks.most_common()]
        file.write_text("".join(lines), encoding="utf-8")


class Sampled(Trial):
    """A trial that is looked at between its marks."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.sampler = Sampler()

    def begin(self) -> None:
        """Start what is measured, and to look."""
        super().begin()
        self.sampler.start()

    def end(self, operations: int) -> None:
        """End both."""
        self.sampler.stop()
        super().end(operations)


async def sample(trial: Trial) -> None:
    """Do the work that the parameters name, and keep where it was in the file that they name."""
    sampled = Sampled(trial.job)
    started = work_of(trial.job.parameters["work"])(sampled)
    if started is None:
        raise ValueError(f"{trial.job.parameters['work']} has no event loop to look at")
    await started
    sampled.sampler.save(Path(trial.job.parameters["stacks"]))
    trial.figures.update(sampled.figures)
