"""A repository of the test's own to release from, at a state where nothing is left to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from releasing.consistency import BETA, STABLE, find_problems
from releasing.packages import find_packages
from support.builds import SourceTree, run_ok

if TYPE_CHECKING:
    from pathlib import Path

    from releasing.packages import Package


@dataclass(frozen=True)
class Clone:
    """A repository with a commit, whose branch is called main."""

    tree: SourceTree

    @property
    def root(self) -> Path:
        """Where it is."""
        return self.tree.root

    def package(self, name: str) -> Package:
        """Return one of its packages."""
        return find_packages(self.root)[name]

    def git(self, *arguments: str) -> str:
        """Run git in it; return what it printed."""
        return run_ok("git", *arguments, cwd=self.root)

    def write(self, path: str, text: str) -> None:
        """Write a file, without committing it."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def replace(self, path: str, before: str, after: str) -> None:
        """Replace a part of a file, which must be there once."""
        text = (self.root / path).read_text(encoding="utf-8")
        assert text.count(before) == 1, path
        self.write(path, text.replace(before, after))

    def commit(self, message: str = "A change") -> None:
        """Commit all that changed."""
        self.tree.commit(message)


# What the template states, whatever this repository states today.
VERSIONS = {
    "channels-redis": "5.2.0",
    "channels-redis-pubsub": "0.9.3",
    "channels-redis-queue": "1.0.4",
}
RANGES = {"channels-redis-pubsub": ">=0.9,<1", "channels-redis-queue": ">=1,<2"}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> SourceTree:
    """Give a copy of this repository, in which every package has one fragment and a fixed version.

    Nothing in it is released, so its changelogs are empty.
    """
    parts = (".github", ".gitignore", "packages", "pyproject.toml", "shared")
    tree = SourceTree.make(tmp_path_factory.mktemp("template") / "repository", *parts)
    clone = Clone(tree)
    for name, package in find_packages(tree.root).items():
        for fragment in package.fragments:
            fragment.unlink()
        clone.write(f"packages/{name}/changelog.d/7.fixed.md", f"A fix in {name}.\n")
        heading, marker, _ = package.changelog.read_text().partition(
            "towncrier release notes start"
        )
        package.changelog.write_text(f"{heading}{marker} -->\n")
        package.write_version(Version(VERSIONS[name]))
        project = package.folder / "pyproject.toml"
        project.write_text(fix(project.read_text(encoding="utf-8"), name), encoding="utf-8")
    clone.commit()
    assert find_problems(tree.root) == []
    return tree


def fix(project: str, name: str) -> str:
    """Return a pyproject.toml that suits the versions of the template."""
    for layer, range_ in RANGES.items():
        project = re.sub(f'"{layer}[<>=][^"]*"', f'"{layer}{range_}"', project)
    status = BETA if VERSIONS[name].startswith("0") else STABLE
    return re.sub('"Development Status :: [^"]*"', f'"{status}"', project)


@pytest.fixture
def clone(template: SourceTree, tmp_path: Path) -> Clone:
    """Give a clone of the template, to do with as a test likes."""
    return Clone(template.clone(tmp_path / "clone"))
