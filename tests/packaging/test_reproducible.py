"""A commit gives the same archives, byte by byte, wherever and whenever it is built."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.builds import PACKAGES, SourceTree, run_ok

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]


@pytest.fixture
def elsewhere(tree: SourceTree, tmp_path: Path) -> SourceTree:
    """Return a clone of the tree at another path, with other times and permissions of files."""
    before = os.umask(0o077)
    try:
        clone = tree.clone(tmp_path / "another" / "place")
    finally:
        os.umask(before)
    for path in clone.root.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (1_000_000_000, 1_000_000_000))
    return clone


def release(tree: SourceTree) -> dict[str, bytes]:
    """Return what the release's command builds from a tree: the archives, by their names."""
    run_ok("sh", tree.root / ".github/releasing/build.sh")
    return {path.name: path.read_bytes() for path in tree.root.glob("dist/*/*")}


def test_two_builds_of_a_commit_are_equal(
    tree: SourceTree, elsewhere: SourceTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sdist and wheel are the same bytes in another folder, time zone, umask and locale."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    first = release(tree)
    assert len(first) == 2 * len(PACKAGES)
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    assert release(elsewhere) == first
