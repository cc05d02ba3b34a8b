"""Run one job, a line of JSON on standard input, in a contender's environment."""

from __future__ import annotations

import importlib
import json
import sys

from benchmarks.survey.plan import BARE
from benchmarks.survey.trial import Job, Trial
from benchmarks.survey.works import WORKS


def main() -> None:
    """Do the job and report."""
    trial = Trial(Job(**json.loads(sys.stdin.readline())))
    is_bare = trial.job.contender in BARE.values()
    name = "bare.bare" if is_bare else WORKS[trial.job.work]
    module, _, function = name.rpartition(".")
    started = getattr(importlib.import_module(f"benchmarks.survey.{module}"), function)(trial)
    if started is not None:  # Otherwise it was synchronous, and is done.
        # The browsers of this work share the processors with the servers.
        runner = importlib.import_module("uvloop" if trial.job.work == "sockets" else "asyncio")
        runner.run(started)
    trial.report()


if __name__ == "__main__":
    main()
