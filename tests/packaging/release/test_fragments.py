"""The changelog fragments that a change needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support.builds import LAYERS, PACKAGES, module_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .conftest import Clone

pytestmark = pytest.mark.packaging

SHARED = "shared/src/channels_redis_shared/transport/commands.py"
OUTSIDE = ("docs/new.md", "tests/unit/test_new.py", f"packages/{LAYERS[0]}/README.md", "hatch.toml")


def packages_lacking(clone: Clone) -> list[str]:
    """The packages that are said to lack a fragment."""
    checked = clone.run("check_fragments.py")
    lacking = re.findall("^packages/(.+)/changelog.d lacks", checked.stderr, re.MULTILINE)
    assert checked.returncode == bool(lacking), checked.stderr
    return lacking


@pytest.mark.parametrize(
    ("paths", "packages"),
    [
        *(([f"packages/{name}/src/{module_of(name)}/new.py"], [name]) for name in PACKAGES),
        ([SHARED], LAYERS),
        (OUTSIDE, []),
    ],
)
def test_change(clone: Clone, paths: Sequence[str], packages: Sequence[str]) -> None:
    """It needs a fragment in each package with a changed archive; the one missing is named."""
    clone.change(*paths)
    lacking = list(packages)
    while lacking:
        assert packages_lacking(clone) == lacking
        clone.change(f"packages/{lacking.pop()}/changelog.d/+new.added.md")
    assert packages_lacking(clone) == []


def test_changes_on_main_are_not_the_branch_s(clone: Clone) -> None:
    """Changes that landed on main after the branch began ask this branch for nothing."""
    clone.git("branch", "-q", "topic")
    clone.change(SHARED)
    clone.git("update-ref", "refs/remotes/origin/main", "HEAD")
    clone.git("switch", "-q", "topic")
    clone.change("docs/new.md")
    assert packages_lacking(clone) == []
