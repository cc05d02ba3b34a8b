"""A repository of the test's own to release from."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from support.builds import PACKAGES, SourceTree, module_of, run, run_ok

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


class Clone(SourceTree):
    """A repository with a commit on its branch main."""

    def git(self, *arguments: str) -> str:
        """Run git in it; return what it printed."""
        return run_ok("git", *arguments, cwd=self.root)

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run its copy of a release script."""
        return run(sys.executable, self.root / ".github/releasing" / script, *arguments)

    def change(self, *paths: str) -> None:
        """Commit a change of some files."""
        for path in paths:
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text("changed\n", encoding="utf-8")
        self.commit()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A copy of this repository in which each package is 1.0.4 and has one fragment."""
    parts = (".github", ".gitignore", "packages", "pyproject.toml", "shared")
    tree = Clone.make(tmp_path_factory.mktemp("template") / "repository", *parts)
    for name in PACKAGES:
        for fragment in (tree.package(name) / "changelog.d").glob("*.md"):
            fragment.unlink()
        (tree.package(name) / "changelog.d/7.fixed.md").write_text(f"A fix in {name}.\n")
        source = tree.package(name) / "src" / module_of(name) / "__init__.py"
        source.write_text(re.sub('__version__ = ".*"', '__version__ = "1.0.4"', source.read_text()))
        changelog = tree.package(name) / "CHANGELOG.md"
        heading = changelog.read_text().partition("towncrier release notes start -->\n")[:2]
        changelog.write_text("".join(heading))
    tree.commit("Nothing is released yet")
    return tree


@pytest.fixture
def clone(template: Clone, tmp_path: Path) -> Clone:
    """A clone of the template."""
    return template.clone(tmp_path / "clone")
