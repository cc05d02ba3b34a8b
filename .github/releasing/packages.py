"""The packages of this repository: where they are, their versions, what they require."""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.version import Version

if TYPE_CHECKING:
    from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_VERSION_LINE = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


class ReleaseError(Exception):
    """Raised when a release cannot go on. The message says what to do about it."""


def git(root: Path, *arguments: str) -> str:
    """Run git in ``root`` and return what it printed.

    Raises:
        ReleaseError: git failed; the message is git's own.
    """
    command = ("git", *arguments)
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ReleaseError(f"{' '.join(command)} failed:\n{done.stderr or done.stdout}".rstrip())
    return done.stdout


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def version_in(source: str) -> Version:
    """Return the version that a package's ``__init__.py`` states.

    Raises:
        ReleaseError: It states none, or several.
    """
    found = _VERSION_LINE.findall(source)
    if len(found) != 1:
        raise ReleaseError('a package needs one line of the form __version__ = "1.2.3"')
    return Version(found[0])


@dataclass(frozen=True)
class Package:
    """One of the packages.

    Args:
        root: The repository.
        name: The name of its distribution, which is also its folder's.
    """

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        """Where the package is."""
        return self.root / "packages" / self.name

    @property
    def module(self) -> Path:
        """The folder of the module that it installs."""
        return self.folder / "src" / self.name.replace("-", "_")

    @property
    def version_file(self) -> Path:
        """The file that states its version."""
        return self.module / "__init__.py"

    @property
    def version(self) -> Version:
        """Its version, as it stands in the tree."""
        return version_in(self.version_file.read_text(encoding="utf-8"))

    @property
    def carries_shared(self) -> bool:
        """Whether it vendors the shared module."""
        return (self.module / "_shared").exists()

    @property
    def changelog(self) -> Path:
        """Its changelog."""
        return self.folder / "CHANGELOG.md"

    @property
    def fragments(self) -> list[Path]:
        """What waits for the changelog of its next release."""
        return sorted(
            path for path in (self.folder / "changelog.d").iterdir() if path.name != ".gitignore"
        )

    @property
    def project(self) -> dict[str, Any]:
        """The ``[project]`` table of its pyproject.toml."""
        project: dict[str, Any] = read_toml(self.folder / "pyproject.toml")["project"]
        return project

    @property
    def requirements(self) -> list[Requirement]:
        """What it requires, without its extras."""
        return [Requirement(line) for line in self.project["dependencies"]]

    def tag(self, version: Version) -> str:
        """Return the name of the git tag of a version of it."""
        return f"{self.name}-v{version}"

    def write_version(self, version: Version) -> None:
        """State another version in the tree."""
        source = self.version_file.read_text(encoding="utf-8")
        version_in(source)
        line = f'__version__ = "{version}"'
        self.version_file.write_text(_VERSION_LINE.sub(line, source), encoding="utf-8")


def find_packages(root: Path) -> dict[str, Package]:
    """Return all packages by their names."""
    names = sorted(path.parent.name for path in root.glob("packages/*/pyproject.toml"))
    return {name: Package(root, name) for name in names}


def get_package(root: Path, name: str) -> Package:
    """Return one package.

    Raises:
        ReleaseError: There is none of that name; the message lists all.
    """
    packages = find_packages(root)
    if name not in packages:
        near = difflib.get_close_matches(name, packages, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ReleaseError(f"no package is named {name!r}.{hint} There are: {', '.join(packages)}")
    return packages[name]
