"""Measure our layers beside what else there is: `hatch run bench`."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[0:1] = [str(TESTS), str(TESTS.parent / "docs/examples")]

from benchmarks.survey.__main__ import main  # noqa: E402 - only now it is found

if __name__ == "__main__":
    sys.exit(main())
