"""Write the page on benchmarks from a run's results."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.survey.report import page
from benchmarks.survey.results import Results

DOCS = Path(__file__).parents[4] / "docs"


def main() -> int:
    """Write it, tell where it is, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.survey.report", description=__doc__)
    parser.add_argument("results", type=Path, metavar="RESULTS.json", help="what a run has kept")
    parser.add_argument(
        "--docs", type=Path, default=DOCS, help="the folder of the documentation (%(default)s)"
    )
    options = parser.parse_args()
    written = page.write(Results.load(options.results), options.docs)
    sys.stdout.write(f"{written}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
