"""Measure our layers beside what else there is: `hatch run bench`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.survey import plan
from benchmarks.survey.contenders import CONTENDERS
from benchmarks.survey.report import table
from benchmarks.survey.results import Results
from benchmarks.survey.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Callable

QUICK = ("comparison", "raw")
STAGES = (*QUICK, "growth")


def main() -> int:
    """Measure what the arguments ask for, show it, and return the exit status."""
    options = parse()
    chosen = [
        cell
        for cell in plan.cells()
        if (cell.quick or not options.quick) and (not options.only or cell.work in options.only)
    ]
    rounds = options.rounds or (1 if options.quick else 3)
    stages = options.stages or (QUICK if options.quick else STAGES)
    with Survey(options.contenders, rounds) as survey:
        if "comparison" not in stages and options.json and options.json.exists():
            # What is added was measured with the same contenders, and the rest stays.
            survey.results = Results.load(options.json)
        else:
            # The paths of this machine don't matter.
            words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
            survey.results.conditions["command"] = " ".join(["hatch run bench", *words])
        measure: dict[str, Callable[[], None]] = {
            "comparison": lambda: survey.compare(chosen),
            "raw": survey.limit,
            "growth": survey.grow,
        }
        for stage in STAGES:
            if stage in stages:
                measure[stage]()
                if options.json:
                    survey.results.save(options.json)
    if options.json:
        survey.results.save(options.json)
    sys.stdout.write(f"{table(survey.results)}\n")
    ours = {name for name, one in CONTENDERS.items() if one.ours}
    return int(any(row.note for row in survey.results.rows if row.contender in ours))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="hatch run bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the main work alone, one round")
    parser.add_argument("--rounds", type=int, help="how often each does each work (3, quick 1)")
    parser.add_argument(
        "--only", action="append", choices=list(plan.TITLES), help="this work; repeatable"
    )
    parser.add_argument(
        "--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS), metavar="ONE"
    )
    parser.add_argument(
        "--stages", nargs="+", choices=STAGES, help="these alone; without comparison, add to FILE"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all figures in this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
