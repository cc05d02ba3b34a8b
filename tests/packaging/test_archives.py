"""The contents of the archives that users download."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.builds import LAYERS, PACKAGES, REPOSITORY, SHARED, contents, module_of

if TYPE_CHECKING:
    from .conftest import Built

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

KINDS = ("sdist", "wheel_from_sdist", "wheel_from_tree")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("package", PACKAGES)
def test_archive_holds_the_whole_package(built: dict[str, Built], package: str, kind: str) -> None:
    """Each archive has every file of the package's module, and the marker of typed packages."""
    files = contents(getattr(built[package], kind))
    top = "src/" if kind == "sdist" else ""
    source = REPOSITORY / "packages" / package / "src"
    expected = {
        f"{top}{path.relative_to(source).as_posix()}": path.read_bytes()
        for pattern in ("*.py", "*.lua", "py.typed")
        for path in (source / module_of(package)).rglob(pattern)
    }
    assert f"{top}{module_of(package)}/py.typed" in expected
    assert {name: files.get(name) for name in expected} == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("package", LAYERS)
def test_archive_holds_the_shared_module_as_files(
    built: dict[str, Built], package: str, kind: str
) -> None:
    """Each archive of a layer has the vendored module, complete, as real files and not as links."""
    files = contents(getattr(built[package], kind))
    folder = f"{'src/' if kind == 'sdist' else ''}{module_of(package)}/_shared/"
    vendored = {
        name.removeprefix(folder): data for name, data in files.items() if name.startswith(folder)
    }
    source = REPOSITORY / SHARED
    expected = {
        path.relative_to(source).as_posix(): path.read_bytes()
        for pattern in ("*.py", "*.lua")
        for path in source.rglob(pattern)
    }
    assert {"__init__.py", "presence/lua/change.lua"} <= set(expected)
    assert vendored == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("package", PACKAGES)
def test_archive_holds_the_licence(built: dict[str, Built], package: str, kind: str) -> None:
    """Each archive has the repository's licence."""
    files = contents(getattr(built[package], kind))
    licences = [data for name, data in files.items() if name.split("/")[-1] == "LICENSE"]
    assert licences == [(REPOSITORY / "LICENSE").read_bytes()]


@pytest.mark.parametrize("package", PACKAGES)
def test_wheels_are_equal(built: dict[str, Built], package: str) -> None:
    """A wheel built from the sdist is, byte by byte, the one built from the tree."""
    archives = built[package]
    assert archives.wheel_from_sdist.read_bytes() == archives.wheel_from_tree.read_bytes()


@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_holds_nothing_else(built: dict[str, Built], package: str) -> None:
    """A wheel installs its own module and its metadata, and nothing beside them."""
    tops = {name.split("/")[0] for name in contents(built[package].wheel_from_tree)}
    module = module_of(package)
    version = built[package].wheel_from_tree.name.split("-")[1]
    assert tops == {module, f"{module}-{version}.dist-info"}
