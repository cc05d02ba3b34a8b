"""A checkout without symbolic links stops the build instead of building a broken package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from uv import find_uv_bin

from support.builds import LAYERS, REPOSITORY, SourceTree, module_of, run, run_ok

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]


@pytest.fixture
def without_links(tree: SourceTree, tmp_path: Path) -> SourceTree:
    """Return a clone of the tree without support for symbolic links."""
    clone = tmp_path / "clone"
    run_ok("git", "clone", "-q", "-c", "core.symlinks=false", tree.root, clone)
    return SourceTree(clone)


@pytest.mark.parametrize("package", LAYERS)
def test_build_stops_with_instructions(
    without_links: SourceTree, tmp_path: Path, package: str
) -> None:
    """No archive is built, and the error says how to clone again."""
    shared = without_links.package(package) / "src" / module_of(package) / "_shared"
    assert shared.is_file()
    done = run(find_uv_bin(), "build", "-o", tmp_path / "dist", without_links.package(package))
    assert done.returncode != 0
    assert "git clone -c core.symlinks=true" in done.stdout + done.stderr
    assert not [path for path in (tmp_path / "dist").iterdir() if path.name != ".gitignore"]


def test_build_hooks_are_equal() -> None:
    """Both layers carry the same guard: a package's sdist must hold its own."""
    queue, pubsub = (
        (REPOSITORY / "packages" / package / "hatch_build.py").read_bytes() for package in LAYERS
    )
    assert queue == pubsub
