"""Run in the environment `lowest`: it has the lowest versions that the packages declare.

uv takes a higher one, and says nothing, where another package needs it.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from support.builds import PACKAGES, REPOSITORY, read_toml

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTRAS = ("cryptography",)


def declared() -> Iterator[Requirement]:
    """Yield what the packages require, themselves left out."""
    for package in PACKAGES:
        project = read_toml(REPOSITORY / "packages" / package / "pyproject.toml")["project"]
        optional = project["optional-dependencies"]
        lines = project["dependencies"] + [line for extra in EXTRAS for line in optional[extra]]
        for requirement in map(Requirement, lines):
            applies = requirement.marker is None or requirement.marker.evaluate()
            if applies and requirement.name not in PACKAGES:
                yield requirement


@pytest.mark.parametrize("requirement", sorted(set(map(str, declared()))))
def test_lowest_version_is_installed(requirement: str) -> None:
    """The version that is installed is the lowest that the requirement allows."""
    parsed = Requirement(requirement)
    (lowest,) = (one.version for one in parsed.specifier if one.operator == ">=")
    assert Version(version(parsed.name)) == Version(lowest)
