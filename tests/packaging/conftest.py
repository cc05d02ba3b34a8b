"""Fixtures of the packaging tests: the source tree, archives, new environments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support.builds import PACKAGES, Environment, SourceTree, build

if TYPE_CHECKING:
    from pathlib import Path

NewEnvironment = Callable[..., Environment]


@dataclass(frozen=True)
class Built:
    """The three archives of one package."""

    sdist: Path
    wheel_from_sdist: Path
    wheel_from_tree: Path


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> SourceTree:
    """Return a copy of the repository as it is now, committed or not."""
    return SourceTree.make(tmp_path_factory.mktemp("tree") / "repository")


@pytest.fixture(scope="session")
def built(tree: SourceTree, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """Return the archives of each package, by its name."""
    to = tmp_path_factory.mktemp("built")
    archives = {}
    for name in PACKAGES:
        sdist = tree.build("sdist", name, to / name / "sdist")
        archives[name] = Built(
            sdist=sdist,
            wheel_from_sdist=build("wheel", sdist, to / name / "from-sdist"),
            wheel_from_tree=tree.build("wheel", name, to / name / "from-tree"),
        )
    return archives


@pytest.fixture(scope="session")
def wheels(built: dict[str, Built], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheels of all packages, as a registry would have them."""
    folder = tmp_path_factory.mktemp("wheels")
    for archives in built.values():
        wheel = archives.wheel_from_tree
        (folder / wheel.name).write_bytes(wheel.read_bytes())
    return folder


@pytest.fixture
def new_environment(tmp_path: Path) -> NewEnvironment:
    """Return a function that makes an empty virtual environment; arguments as its `make`."""
    return lambda **options: Environment.make(tmp_path / "environment", **options)
