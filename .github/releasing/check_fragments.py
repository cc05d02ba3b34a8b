"""Check that a branch has a changelog fragment for each package that it changes.

towncrier checks one package; this finds out which, since a change in ``shared`` is one in each
package that vendors it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]
# Files that decide what an archive contains. A README needs no fragment.
IN_ARCHIVE = re.compile(r"packages/([^/]+)/(?:src/.+|pyproject\.toml|hatch_build\.py)")


def find_changed(paths: Iterable[str]) -> set[str]:
    """Return the packages whose archives contain one of these files."""
    vendoring = {path.parents[2].name for path in ROOT.glob("packages/*/src/*/_shared")}
    changed: set[str] = set()
    for path in paths:
        if path.startswith("shared/src/"):
            changed |= vendoring
        elif match := IN_ARCHIVE.fullmatch(path):
            changed.add(match[1])
    return changed


def main() -> str | None:
    """Return which packages lack a fragment, if any do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--since", default="origin/main", help="where the branch began")
    since = parser.parse_args().since
    diff = ("git", "diff", "--name-only", "--no-renames", f"{since}...")
    paths = subprocess.run(diff, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    lacking = []
    for package in sorted(find_changed(paths.splitlines())):
        options = ("--config", "pyproject.toml", "--dir", f"packages/{package}")
        check = (sys.executable, "-m", "towncrier", "check", *options, "--compare-with", since)
        if subprocess.run(check, cwd=ROOT, check=False).returncode != 0:
            lacking.append(f"packages/{package}/changelog.d lacks a valid changelog fragment")
    return "\n".join(lacking) or None


if __name__ == "__main__":
    sys.exit(main())
