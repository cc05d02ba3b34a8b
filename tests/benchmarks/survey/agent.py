"""Run one job, a line of JSON on standard input, in a contender's environment."""

from __future__ import annotations

import importlib
import json
import sys

from benchmarks.survey.contenders import CONTENDERS
from benchmarks.survey.trial import Job, Trial
from benchmarks.survey.works import WORKS


def main() -> None:
    """Do the job and report."""
    trial = Trial(Job(**json.loads(sys.stdin.readline())))
    backend = CONTENDERS[trial.job.contender].backend
    name = WORKS[trial.job.work] if backend else "bare.bare"
    module, _, function = name.rpartition(".")
    started = getattr(importlib.import_module(f"benchmarks.survey.{module}"), function)(trial)
    if started is not None:  # Otherwise it was synchronous, and is done.
        # The browsers of this work share the processors with the servers.
        runner = importlib.import_module("uvloop" if trial.job.work == "sockets" else "asyncio")
        runner.run(started)
    trial.report()


if __name__ == "__main__":
    main()
