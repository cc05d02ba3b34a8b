"""Whether what a tag names is what stands in the tree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .consistency import find_problems
from .packages import ReleaseError, get_package

if TYPE_CHECKING:
    from pathlib import Path

    from .packages import Package

_TAG = re.compile(r"(?P<name>[a-z-]+)-v(?P<version>\d.*)")


def check_tag(root: Path, tag: str) -> Package:
    """Return the package that a tag releases.

    Raises:
        ReleaseError: The tag names no package, or another version than the tree has, or the
            changelog of that version was not built.
    """
    match = _TAG.fullmatch(tag)
    if match is None:
        raise ReleaseError(f"{tag!r} is no tag of a release: those look like <package>-v1.2.3")
    package = get_package(root, match["name"])
    problems = find_problems(root)
    if tag != package.tag(package.version):
        problems.append(f"the tag is {tag}, but {package.name} is {package.version} in its commit")
    title = re.compile(rf"^## {re.escape(str(package.version))} ", re.MULTILINE)
    if not title.search(package.changelog.read_text(encoding="utf-8")):
        problems.append(f"its CHANGELOG.md has no section for {package.version}")
    if package.fragments:
        names = ", ".join(path.name for path in package.fragments)
        problems.append(f"its changelog.d still has {names}")
    if problems:
        advice = "Delete the tag and make it with `hatch run release:prepare`."
        raise ReleaseError("\n".join([f"{tag} cannot be released:", *problems, advice]))
    return package
