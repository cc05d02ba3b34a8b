"""Which packages a change needs a changelog fragment in, and which of them are missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .packages import ReleaseError, find_packages, git, read_toml, version_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from .packages import Package

SHARED = "shared/src/"
# What decides on the contents of an archive; a README, or a test, needs no fragment.
_IN_ARCHIVES = re.compile(r"packages/([^/]+)/(?:src/.+|pyproject\.toml|hatch_build\.py)")


@dataclass(frozen=True)
class Change:
    """What differs from the commit that a change started at.

    Args:
        touched: Every path that was added, changed or removed.
        present: Those of them that are still there.
        released: The packages that were released meanwhile, their fragments being used up.
    """

    touched: Sequence[str]
    present: Collection[str]
    released: Collection[str] = ()


def fragment_types(root: Path) -> list[str]:
    """Return the types of fragments that the configuration of towncrier knows."""
    towncrier = read_toml(root / "pyproject.toml")["tool"]["towncrier"]
    return [entry["directory"] for entry in towncrier["type"]]


def reasons_by_package(touched: Sequence[str], packages: Collection[Package]) -> dict[str, str]:
    """Return the packages that need a fragment, each with the first path that says so."""
    reasons: dict[str, str] = {}
    for path in touched:
        if match := _IN_ARCHIVES.fullmatch(path):
            needing = [package.name for package in packages if package.name == match[1]]
        elif path.startswith(SHARED):
            needing = [package.name for package in packages if package.carries_shared]
        else:
            needing = []
        for name in needing:
            reasons.setdefault(name, path)
    return reasons


def find_missing(
    change: Change, packages: Collection[Package], types: Sequence[str]
) -> Iterator[str]:
    """Yield a line for each fragment that a change lacks: for which path, and what to write."""
    for name, path in reasons_by_package(change.touched, packages).items():
        folder = f"packages/{name}/changelog.d/"
        written = any(present.startswith(folder) for present in change.present)
        if not written and name not in change.released:
            yield (
                f"{name} has no changelog fragment, but {path} changed.\n"
                f"  Write {folder}<issue number, or + and a word>.<{'|'.join(types)}>.md"
            )


def find_misnamed(root: Path, packages: Collection[Package], types: Sequence[str]) -> Iterator[str]:
    """Yield a line for each fragment that towncrier would pass over, or that is empty."""
    valid = re.compile(rf"(?:\d+|\+[\w-]+)\.(?:{'|'.join(types)})(?:\.\d+)?\.md")
    for package in packages:
        for path in package.fragments:
            shown = path.relative_to(root).as_posix()
            if not valid.fullmatch(path.name):
                yield (
                    f"{shown} is no name of a fragment.\n"
                    f"  Call it <issue number, or + and a word>.<{'|'.join(types)}>.md"
                )
            elif not path.read_text(encoding="utf-8").strip():
                yield f"{shown} is empty.\n  Write what changes for users of {package.name}."


def read_change(root: Path, since: str) -> Change:
    """Return what changed since HEAD left ``since``, committed or not."""
    base = git(root, "merge-base", since, "HEAD").strip()
    listed = git(root, "diff", "--name-only", "--no-renames", "-z", base)
    listed += git(root, "ls-files", "--others", "--exclude-standard", "-z")
    touched = [path for path in listed.split("\0") if path]
    released = [
        package.name
        for package in find_packages(root).values()
        if package.changelog.relative_to(root).as_posix() in touched
        and _version_differs(package, base)
    ]
    return Change(touched, [path for path in touched if (root / path).exists()], released)


def _version_differs(package: Package, base: str) -> bool:
    path = package.version_file.relative_to(package.root).as_posix()
    if not git(package.root, "ls-tree", base, path):
        return False  # A package that is new needs its first fragment.
    return version_in(git(package.root, "show", f"{base}:{path}")) != package.version


def check_fragments(root: Path, since: str) -> str:
    """Return a line that says that nothing is missing.

    Args:
        root: The repository.
        since: A commit or branch; what changed since HEAD left it is looked at.

    Raises:
        ReleaseError: A fragment is missing, misnamed or empty; the message says each.
    """
    packages, types = find_packages(root).values(), fragment_types(root)
    change = read_change(root, since)
    found = [
        *find_missing(change, packages, types),
        *find_misnamed(root, packages, types),
    ]
    if found:
        raise ReleaseError("\n".join(found))
    needing = reasons_by_package(change.touched, packages)
    return f"Changelog fragments: all there ({', '.join(needing) or 'none was needed'})."
