"""A commit gives the same archives, byte by byte, wherever and whenever it is built."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from releasing.building import CONSTRAINTS, build
from releasing.packages import get_package
from support.builds import PACKAGES, SourceTree, contents

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Built

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]


@pytest.fixture
def elsewhere(tree: SourceTree, tmp_path: Path) -> SourceTree:
    """Give a clone of the tree, at another path, with other times and permissions of its files."""
    before = os.umask(0o077)
    try:
        clone = tree.clone(tmp_path / "another" / "place")
    finally:
        os.umask(before)
    for path in clone.root.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (1_000_000_000, 1_000_000_000))
    return clone


@pytest.mark.parametrize("package", PACKAGES)
def test_two_builds_of_a_commit_are_equal(
    tree: SourceTree,
    elsewhere: SourceTree,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
) -> None:
    """Sdist and wheel are the same bytes in another folder, time zone, umask and locale."""
    first = build(get_package(tree.root, package), tmp_path / "first")
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    second = build(get_package(elsewhere.root, package), tmp_path / "second")
    assert [path.suffix for path in first] == [".whl", ".gz"]
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize("package", PACKAGES)
def test_build_takes_its_time_from_the_commit(
    elsewhere: SourceTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    """Another commit's time is in the archives: SOURCE_DATE_EPOCH is not just ignored."""
    first = build(get_package(elsewhere.root, package), tmp_path / "first")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2031-01-01T00:00:00Z")
    (elsewhere.root / "docs" / "later.md").write_text("Nothing of a package.\n")
    elsewhere.commit("Later")
    second = build(get_package(elsewhere.root, package), tmp_path / "second")
    assert [contents(path) for path in first] == [contents(path) for path in second]
    assert [path.read_bytes() for path in first] != [path.read_bytes() for path in second]


@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_of_a_release_equals_the_wheel_from_the_tree(
    tree: SourceTree,
    built: dict[str, Built],
    tmp_path: Path,
    package: str,
) -> None:
    """What a release builds, by way of the sdist, holds what the tree's own wheel holds."""
    wheel, _ = build(get_package(tree.root, package), tmp_path / "dist")
    released, from_tree = contents(wheel), contents(built[package].wheel_from_tree)
    # The build backend is pinned for a release, and names itself here.
    assert [name for name in released if released[name] != from_tree.get(name)] in (
        [],
        [name for name in released if name.endswith(("/WHEEL", "/RECORD"))],
    )
    assert released.keys() == from_tree.keys()


def test_build_tools_are_pinned_with_hashes() -> None:
    """The build backend and all that it needs have one version and hashes."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    pinned = [line.split("==")[0] for line in lines if "==" in line]
    assert {"hatchling", "packaging", "pathspec", "pluggy", "trove-classifiers"} <= set(pinned)
    assert len([line for line in lines if "--hash=sha256:" in line]) >= len(pinned)


def test_time_is_not_part_of_a_build_by_another_way(
    built: dict[str, Built], elsewhere: SourceTree, tmp_path: Path
) -> None:
    """Even without SOURCE_DATE_EPOCH, as distributors build, the same tree gives the same bytes."""
    name = PACKAGES[-1]
    wheel = elsewhere.build("wheel", name, tmp_path / "dist")
    assert wheel.read_bytes() == built[name].wheel_from_tree.read_bytes()
