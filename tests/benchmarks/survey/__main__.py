"""Compare our layers with what else there is: `hatch run bench`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.survey import plan
from benchmarks.survey.contenders import CONTENDERS
from benchmarks.survey.report import table
from benchmarks.survey.survey import Survey

DEFAULT = (*plan.ALL, *plan.BARE.values())


def main() -> int:
    """Measure what the arguments ask for, show it, and return the exit status."""
    options = parse()
    chosen = [
        cell
        for cell in (plan.beside_peers() if options.peers else plan.cells())
        if (cell.quick or not options.quick) and (not options.only or cell.work in options.only)
    ]
    rounds = options.rounds or (1 if options.quick else 3)
    contenders = options.contenders or (plan.PEERS if options.peers else DEFAULT)
    with Survey(contenders, rounds) as survey:
        # The paths of this machine don't matter.
        words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
        survey.results.conditions["command"] = " ".join(["hatch run bench", *words])
        survey.compare(chosen)
    if options.json:
        survey.results.save(options.json)
    sys.stdout.write(f"{table(survey.results)}\n")
    ours = [name for name, one in CONTENDERS.items() if one.ours or name in plan.BARE.values()]
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
        "--contenders", nargs="+", choices=list(CONTENDERS), metavar="ONE", help="these contenders"
    )
    parser.add_argument(
        "--peers", action="store_true", help="broadcasts beside Socket.IO and ws, which need npm"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all figures in this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
