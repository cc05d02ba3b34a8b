"""Whether what a tag names is what stands in the tree, and may be released now."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from uv import find_uv_bin

from .consistency import find_problems
from .packages import ReleaseError, find_packages, get_package, git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .packages import Package

_TAG = re.compile(r"(?P<name>[a-z-]+)-v(?P<version>\d.*)")


def check_tag(root: Path, tag: str, branch: str) -> Package:
    """Return the package that a tag releases.

    Args:
        root: The repository; the tag's commit is checked out.
        tag: The tag.
        branch: Releases are made from commits on this branch.

    Raises:
        ReleaseError: The tag names no package, or another version than the tree has; the changelog
            of that version was not built; the commit is not on the branch; or a package of this
            repository that it requires is not released yet.
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
    if not _is_on(root, branch):
        problems.append(f"its commit is not on {branch}: merge it, and tag it there")
    problems.extend(_missing(package))
    if problems:
        advice = "Delete the tag and make it with `hatch run release:prepare`."
        raise ReleaseError("\n".join([f"{tag} cannot be released:", *problems, advice]))
    return package


def _is_on(root: Path, branch: str) -> bool:
    """Tell whether the commit that is checked out is on a branch."""
    head, base = git(root, "rev-parse", "HEAD"), git(root, "merge-base", "HEAD", branch)
    return head == base


def _missing(package: Package) -> Iterator[str]:
    """Yield a line for each package of this repository that it requires and no one can install."""
    ours = find_packages(package.root)
    for requirement in package.requirements:
        if requirement.name not in ours:
            continue
        done = subprocess.run(
            (find_uv_bin(), "pip", "compile", "--quiet", "--no-deps", "--refresh", "-"),
            input=f"{requirement.name}{requirement.specifier}\n",
            cwd=package.root,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            yield (
                f"no release of {requirement} can be installed: release {requirement.name} first\n"
                f"{done.stderr.rstrip()}"
            )
