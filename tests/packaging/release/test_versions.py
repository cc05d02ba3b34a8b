"""The packages' versions, ranges and classifiers agree."""

from __future__ import annotations

import re
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from support.builds import LAYERS, PACKAGES, REPOSITORY, module_of, read_toml


def project(package: str) -> dict[str, Any]:
    """The `[project]` table of a package."""
    table: dict[str, Any] = read_toml(REPOSITORY / "packages" / package / "pyproject.toml")
    return table["project"]  # type: ignore[no-any-return]


def version(package: str) -> Version:
    """The version that a package's source states."""
    source = REPOSITORY / "packages" / package / "src" / module_of(package) / "__init__.py"
    (stated,) = re.findall(r'^__version__ = "(.+)"$', source.read_text("utf-8"), re.MULTILINE)
    return Version(stated)


@pytest.mark.parametrize("layer", LAYERS)
def test_meta_package_takes_each_layer_up_to_its_next_major_version(layer: str) -> None:
    """The meta-package's range holds the layer's version here, and ends before a breaking one."""
    requirements = map(Requirement, project("channels-redis")["dependencies"])
    (range_,) = (one.specifier for one in requirements if one.name == layer)
    assert version(layer) in range_
    assert str(version(layer).major + 1) not in range_


@pytest.mark.parametrize("package", PACKAGES)
def test_classifier_says_whether_a_package_is_stable(package: str) -> None:
    """Versions below 1 are a beta, all others are stable."""
    stable = "5 - Production/Stable" if version(package).major else "4 - Beta"
    stated = [line for line in project(package)["classifiers"] if line.startswith("Development")]
    assert stated == [f"Development Status :: {stable}"]
