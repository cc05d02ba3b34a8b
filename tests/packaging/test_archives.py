"""The archives that users download."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

from support.builds import LAYERS, PACKAGES, SourceTree, module_of, run, run_ok
from support.installing import uv

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

# KB of 1024 bytes: a tenth above what is there, so that only a file by mistake is noticed.
WHEEL_LIMITS = {"channels-redis": 9, "channels-redis-pubsub": 179, "channels-redis-queue": 220}


@pytest.mark.parametrize("package", PACKAGES)
def test_wheel(tree: SourceTree, wheels: Path, package: str) -> None:
    """The one that is built from the sdist is the same, byte by byte; it has the licence.

    It has its whole module, the shared one as files, and nothing else. PyPI takes the archives.
    """
    archives = [*(tree.root / "dist" / package).iterdir()]
    (wheel,) = (path for path in archives if path.suffix == ".whl")
    assert wheel.read_bytes() == (wheels / wheel.name).read_bytes()
    with ZipFile(wheel) as archive:
        (licence,) = (name for name in archive.namelist() if name.endswith("/LICENSE"))
        assert archive.read(licence) == (tree.root / "LICENSE").read_bytes()
    assert wheel.stat().st_size / 1024 < WHEEL_LIMITS[package]
    assert len(archives) == 2
    uv("tool", "run", "twine", "check", "--strict", *archives)
    # Two modules may be equal, as those are that Django needs around a command.
    module = tree.package(package) / "src" / module_of(package)
    uv("tool", "run", "check-wheel-contents", "--ignore=W002", "--package", module, wheel)


def test_two_builds_of_a_commit_are_equal(
    tree: SourceTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archives are the same bytes in another folder, with other times, umask and locale."""
    before = os.umask(0o077)
    try:
        clone = tree.clone(tmp_path / "another" / "place")
    finally:
        os.umask(before)
    for path in clone.root.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000), follow_symlinks=False)
    for name, value in {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "1"}.items():
        monkeypatch.setenv(name, value)
    run_ok("sh", ".github/releasing/build.sh", cwd=clone.root)
    for archive in tree.root.glob("dist/*/*"):
        again = clone.root / archive.relative_to(tree.root)
        assert again.read_bytes() == archive.read_bytes()


@pytest.mark.parametrize("package", LAYERS)
def test_checkout_without_links(tree: SourceTree, tmp_path: Path, package: str) -> None:
    """It stops the build instead of building a broken package; the error says how to clone."""
    clone = tmp_path / "clone"
    run_ok("git", "clone", "-q", "-c", "core.symlinks=false", tree.root, clone)
    done = run("python", "-m", "hatchling", "build", cwd=clone / "packages" / package)
    assert done.returncode
    assert "git clone -c core.symlinks=true" in done.stdout + done.stderr
    assert not [*clone.rglob("*.whl")]
