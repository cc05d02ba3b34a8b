"""Makes the commit and the tag of a release."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from packaging.version import Version

from .consistency import find_problems
from .packages import ReleaseError, get_package, git

if TYPE_CHECKING:
    from pathlib import Path

    from .packages import Package

STEPS = ("major", "minor", "patch", "current")


def next_version(version: Version, step: str) -> Version:
    """Return the version after ``version``.

    Args:
        version: The version now.
        step: ``major``, ``minor`` or ``patch``: the part to raise. ``current`` raises none; the
            first release of a package is the version that it started with.
    """
    major, minor, patch = version.release[0], version.minor, version.micro
    after = {
        "major": f"{major + 1}.0.0",
        "minor": f"{major}.{minor + 1}.0",
        "patch": f"{major}.{minor}.{patch + 1}",
        "current": str(version),
    }
    return Version(after[step])


@dataclass(frozen=True)
class Plan:
    """A release that can be made.

    Args:
        package: What is released.
        version: The version that it gets.
    """

    package: Package
    version: Version

    @property
    def tag(self) -> str:
        """The name of its tag."""
        return self.package.tag(self.version)

    @property
    def message(self) -> str:
        """The message of its commit and of its tag."""
        return f"Release {self.package.name} {self.version}"


def plan_release(root: Path, name: str, step: str) -> Plan:
    """Return the plan of a release.

    Raises:
        ReleaseError: It cannot be made: a tag of that version is there, nothing waits for the
            changelog, or the versions would not fit together.
    """
    package = get_package(root, name)
    plan = Plan(package, next_version(package.version, step))
    if git(root, "tag", "--list", plan.tag):
        raise ReleaseError(f"{plan.tag} is there already: raise the version by major, minor, patch")
    if not package.fragments:
        raise ReleaseError(
            f"nothing waits for the changelog in packages/{name}/changelog.d: "
            "write a fragment about what changed"
        )
    if problems := find_problems(root, {name: plan.version}):
        raise ReleaseError(f"{name} {plan.version} would not fit:\n" + "\n".join(problems))
    return plan


def describe(plan: Plan) -> str:
    """Return what making a release would do."""
    package = plan.package
    changelog = _towncrier(plan, "--draft")
    return (
        f"{package.name}: {package.version} -> {plan.version}\n\n"
        f"packages/{package.name}/CHANGELOG.md gets\n\n{changelog.strip()}\n\n"
        f"removed: {', '.join(path.name for path in package.fragments)}\n"
        f"commit:  {plan.message}\n"
        f"tag:     {plan.tag}\n{_note_on_first_release(plan)}"
    )


def make_release(plan: Plan) -> str:
    """Write the version and the changelog, commit them, tag the commit; return what to do next.

    Raises:
        ReleaseError: Files are changed already, or a step failed.
    """
    root, package = plan.package.root, plan.package
    if changed := git(root, "status", "--porcelain"):
        raise ReleaseError(f"commit or undo these first, they are not part of it:\n{changed}")
    folder = f"packages/{package.name}"
    try:
        package.write_version(plan.version)
        _towncrier(plan, "--yes")
        git(root, "add", "--all", "--", folder)
        git(root, "commit", "--quiet", "-m", plan.message, "--", folder)
        git(root, "tag", "--annotate", plan.tag, "-m", plan.message)
    except ReleaseError as error:
        undo = f"git restore --source=HEAD --staged --worktree -- {folder}"
        raise ReleaseError(f"{error}\nTo go back to where it began: {undo}") from error
    return (
        f"Committed and tagged {plan.tag}. Look at it (git show), then publish it:\n"
        f"  git push --atomic origin HEAD {plan.tag}"
    )


def _note_on_first_release(plan: Plan) -> str:
    """Say so if a version is passed over that was never released: it may be a mistake."""
    before = plan.package.version
    if plan.version == before or git(plan.package.root, "tag", "--list", plan.package.tag(before)):
        return ""
    return (
        f"note:    there is no tag of {before}. Fetch the tags, or if it was never released, "
        "release it with `current` in place of the step.\n"
    )


def _towncrier(plan: Plan, *options: str) -> str:
    """Run ``towncrier build`` for the package of a plan; return what it printed."""
    command = (
        *(sys.executable, "-m", "towncrier", "build", "--config", "pyproject.toml"),
        *("--dir", f"packages/{plan.package.name}", "--version", str(plan.version)),
        *("--date", datetime.now(timezone.utc).date().isoformat(), *options),
    )
    done = subprocess.run(
        command, cwd=plan.package.root, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ReleaseError(f"towncrier failed:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout
