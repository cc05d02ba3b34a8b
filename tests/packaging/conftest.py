"""Fixtures of the packaging tests: the source tree, archives, a new environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.builds import PACKAGES, Environment, SourceTree, build, run_ok

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> SourceTree:
    """A copy of the repository as it is now, committed or not, with archives in `dist`."""
    tree = SourceTree.make(tmp_path_factory.mktemp("tree") / "repository")
    run_ok("sh", ".github/releasing/build.sh", cwd=tree.root)
    return tree


@pytest.fixture(scope="session")
def wheels(tree: SourceTree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheels of all packages, built from their sdists."""
    folder = tmp_path_factory.mktemp("wheels")
    for package in PACKAGES:
        (sdist,) = (tree.root / "dist" / package).glob("*.tar.gz")
        wheel = build("wheel", sdist, folder / package)
        wheel.rename(folder / wheel.name)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """A virtual environment with nothing but pip in it."""
    return Environment.make(tmp_path / "environment", with_pip=True)
