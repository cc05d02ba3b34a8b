"""The changelog fragments that a change needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support.builds import LAYERS, PACKAGES, module_of

if TYPE_CHECKING:
    from .conftest import Clone

pytestmark = pytest.mark.packaging

SHARED = "shared/src/channels_redis_shared/transport/commands.py"
QUEUE = "packages/channels-redis-queue"


def packages_lacking(clone: Clone) -> list[str]:
    """Return the packages that are said to lack a fragment."""
    checked = clone.run("check_fragments.py")
    lacking = re.findall("^packages/(.+)/changelog.d lacks", checked.stderr, re.MULTILINE)
    assert checked.returncode == bool(lacking), checked.stderr
    return lacking


def fragment(package: str, name: str = "+new.added.md") -> str:
    """Return the path of a fragment."""
    return f"packages/{package}/changelog.d/{name}"


def change(clone: Clone, *paths: str) -> None:
    """Commit a change of some files."""
    for path in paths:
        clone.write(path, "changed\n")
    clone.commit()


@pytest.mark.parametrize("package", PACKAGES)
def test_change_in_a_package_needs_a_fragment_there(clone: Clone, package: str) -> None:
    """A change in one package asks for a fragment in that one alone, until there is one."""
    change(clone, f"packages/{package}/src/{module_of(package)}/new.py")
    assert packages_lacking(clone) == [package]
    change(clone, fragment(package))
    assert packages_lacking(clone) == []


def test_change_in_shared_needs_a_fragment_in_both_layers(clone: Clone) -> None:
    """A change of the shared module asks both layers for a fragment, and names the one missing."""
    change(clone, SHARED)
    assert packages_lacking(clone) == list(LAYERS)
    change(clone, fragment("channels-redis-queue"))
    assert packages_lacking(clone) == ["channels-redis-pubsub"]
    change(clone, fragment("channels-redis-pubsub"))
    assert packages_lacking(clone) == []


def test_change_outside_the_archives_needs_none(clone: Clone) -> None:
    """Documentation, tests and tools ask for no fragment."""
    change(clone, "docs/new.md", "tests/unit/test_new.py", f"{QUEUE}/README.md", "hatch.toml")
    assert packages_lacking(clone) == []


def test_changes_on_main_are_not_the_branch_s(clone: Clone) -> None:
    """Changes that landed on main after the branch began ask this branch for nothing."""
    clone.git("branch", "-q", "topic")
    change(clone, SHARED)
    clone.git("update-ref", "refs/remotes/origin/main", "HEAD")
    clone.git("switch", "-q", "topic")
    change(clone, "docs/new.md")
    assert packages_lacking(clone) == []
