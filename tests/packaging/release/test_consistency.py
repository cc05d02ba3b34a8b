"""Whether the packages' versions, ranges and classifiers fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from releasing.consistency import find_problems
from releasing.packages import find_packages
from support.builds import LAYERS, REPOSITORY

if TYPE_CHECKING:
    from .conftest import Clone

META = "packages/channels-redis/pyproject.toml"


def test_this_repository_fits_together() -> None:
    """The meta-package's ranges hold the layers' versions, and each states what it is."""
    assert find_problems(REPOSITORY) == []


def test_meta_package_requires_both_layers() -> None:
    """The meta-package brings each layer."""
    required = {one.name for one in find_packages(REPOSITORY)["channels-redis"].requirements}
    assert set(LAYERS) <= required


@pytest.mark.parametrize(
    ("package", "version"), [("channels-redis-queue", "2.0.0"), ("channels-redis-pubsub", "0.8.0")]
)
def test_version_outside_the_range_is_found(clone: Clone, package: str, version: str) -> None:
    """A layer's version above or below the range is a problem, told with the file and range."""
    (problem,) = find_problems(clone.root, {package: Version(version)})
    assert problem.startswith(f"{META} requires {package}")
    assert f"leaves out {version}" in problem


def test_range_without_an_end_is_found(clone: Clone) -> None:
    """A range that lets in the next major version is a problem."""
    clone.replace(META, '"channels-redis-queue>=1,<2"', '"channels-redis-queue>=1"')
    assert find_problems(clone.root) == [
        f"{META} requires channels-redis-queue>=1, which lets in 2: add <2"
    ]


def test_wrong_status_is_found(clone: Clone) -> None:
    """A beta's version is below 1."""
    _, status = find_problems(clone.root, {"channels-redis-queue": Version("0.5")})
    assert status.endswith("for version 0.5: make it 'Development Status :: 4 - Beta'")
