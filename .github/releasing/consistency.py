"""Whether the packages' versions, ranges and classifiers fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from .packages import find_packages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from .packages import Package

BETA = "Development Status :: 4 - Beta"
STABLE = "Development Status :: 5 - Production/Stable"


def find_problems(root: Path, changed: Mapping[str, Version] | None = None) -> list[str]:
    """Return what does not fit together, each with what to change; nothing if all is well.

    Args:
        root: The repository.
        changed: Versions to assume in place of those in the tree, by package.
    """
    packages = find_packages(root)
    versions = {name: package.version for name, package in packages.items()} | dict(changed or {})
    problems: list[str] = []
    for package in packages.values():
        problems.extend(_problems_of_ranges(package, versions))
        problems.extend(_problems_of_status(package, versions[package.name]))
    return problems


def _problems_of_ranges(package: Package, versions: Mapping[str, Version]) -> Iterator[str]:
    """A range takes in the layer's version in this tree, and ends before its next major one."""
    where = f"packages/{package.name}/pyproject.toml"
    for requirement in package.requirements:
        version = versions.get(requirement.name)
        if version is None:
            continue
        end = Version(str(version.major + 1))
        if not requirement.specifier.contains(version, prereleases=True):
            yield (
                f"{where} requires {requirement}, which leaves out {version}, "
                f"the version in this tree: let its range end with <{end}"
            )
        elif requirement.specifier.contains(end, prereleases=True):
            yield f"{where} requires {requirement}, which lets in {end}: add <{end}"


def _problems_of_status(package: Package, version: Version) -> Iterator[str]:
    """Versions below 1 are a beta, all others are stable."""
    status = BETA if version.major == 0 else STABLE
    stated = [line for line in package.project["classifiers"] if line.startswith("Development")]
    if stated != [status]:
        yield (
            f"packages/{package.name}/pyproject.toml states {', '.join(stated) or 'no status'} "
            f"for version {version}: make it {status!r}"
        )
