"""The archives that users download."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.builds import LAYERS, PACKAGES, REPOSITORY, SHARED, contents, module_of
from support.installing import uv

if TYPE_CHECKING:
    from .conftest import Built

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

PATTERNS = ("*.py", "*.lua", "py.typed")


@pytest.mark.parametrize("package", PACKAGES)
def test_contents(built: dict[str, Built], package: str) -> None:
    """A wheel has its whole module, the shared one as files, the licence, and nothing else.

    The wheel built from the sdist is the same, byte by byte, so the sdist has all of it as well.
    """
    archives, module = built[package], module_of(package)
    assert archives.wheel_from_sdist.read_bytes() == archives.wheel_from_tree.read_bytes()
    sources = {module: REPOSITORY / "packages" / package / "src" / module}
    if package in LAYERS:
        sources[f"{module}/_shared"] = REPOSITORY / SHARED
    expected = {
        f"{folder}/{path.relative_to(source).as_posix()}": path.read_bytes()
        for folder, source in sources.items()
        for pattern in PATTERNS
        for path in source.rglob(pattern)
    }
    files = contents(archives.wheel_from_tree)
    assert {name: data for name, data in files.items() if ".dist-info/" not in name} == expected
    licences = [data for name, data in files.items() if name.endswith("/LICENSE")]
    assert licences == [(REPOSITORY / "LICENSE").read_bytes()]


@pytest.mark.parametrize("package", PACKAGES)
def test_checkers(built: dict[str, Built], package: str) -> None:
    """PyPI takes the archives and their descriptions, and the wheel has no common mistake."""
    archives = built[package]
    uv("tool", "run", "twine", "check", "--strict", archives.sdist, archives.wheel_from_tree)
    # Two modules may be equal, as those are that Django needs around a command.
    uv("tool", "run", "check-wheel-contents", "--ignore=W002", archives.wheel_from_tree)
