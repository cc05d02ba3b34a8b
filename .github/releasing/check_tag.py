"""Check that a tag may be released: ``hatch run release:check-tag channels-redis-queue-v1.1.0``.

The tag's commit is checked out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


def find_problems(package: str, version: str, branch: str) -> Iterator[str]:
    """Yield a line for each reason not to release this version of a package."""
    folder = ROOT / "packages" / package
    source = folder / "src" / package.replace("-", "_") / "__init__.py"
    if f'__version__ = "{version}"\n' not in source.read_text(encoding="utf-8"):
        yield f"__version__ in {source.relative_to(ROOT)} is not {version}"
    if f"\n## {version} (" not in (folder / "CHANGELOG.md").read_text(encoding="utf-8"):
        yield f"packages/{package}/CHANGELOG.md has no section for {version}"
    if fragments := sorted(path.name for path in (folder / "changelog.d").glob("*.md")):
        yield f"packages/{package}/changelog.d still has {', '.join(fragments)}"
    ancestor = ("git", "merge-base", "--is-ancestor", "HEAD", branch)
    if subprocess.run(ancestor, cwd=ROOT, check=False).returncode != 0:
        yield f"the commit is not on {branch}: merge it, and tag it there"


def main() -> str | None:
    """Return why the tag can't be released, if it can't; pass its parts on to the workflow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tag")
    parser.add_argument("--branch", default="origin/main", help="the branch of releases")
    arguments = parser.parse_args()
    package, _, version = arguments.tag.rpartition("-v")
    if not (ROOT / "packages" / package / "pyproject.toml").is_file():
        return f"{arguments.tag} does not name a package: tags look like channels-redis-v1.2.3"
    if problems := list(find_problems(package, version, arguments.branch)):
        return "\n".join([f"{arguments.tag} cannot be released:", *problems])
    if outputs := os.environ.get("GITHUB_OUTPUT"):
        with Path(outputs).open("a", encoding="utf-8") as file:
            file.write(f"package={package}\nversion={version}\n")
    return None


if __name__ == "__main__":
    sys.exit(main())
