"""Run one job, a line of JSON on standard input, in a contender's environment."""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

from benchmarks.survey.trial import Job, Trial
from benchmarks.survey.works import work_of


def main() -> None:
    """Do the job and report."""
    trial = Trial(Job(**json.loads(sys.stdin.readline())))
    started = work_of(trial.job.work)(trial)
    if started is not None:  # Otherwise it was synchronous, and is done.
        # The browsers of this work share the processors with the servers.
        run = uvloop.run if trial.job.work == "sockets" else asyncio.run
        run(started)
    trial.report()


if __name__ == "__main__":
    main()
