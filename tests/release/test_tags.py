"""Tags that start the workflow which publishes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from builds import PACKAGES
from releasing import __main__ as command_line
from releasing.packages import ReleaseError
from releasing.preparing import make_release, plan_release
from releasing.tags import check_tag

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Clone


@pytest.mark.parametrize("package", PACKAGES)
def test_tag_of_a_release_names_its_package(clone: Clone, package: str) -> None:
    """Each package is told from its tag, though one's name begins the others'."""
    plan = plan_release(clone.root, package, "minor")
    make_release(plan)
    assert check_tag(clone.root, plan.tag).name == package


def test_tag_of_another_version_is_refused(clone: Clone) -> None:
    """A tag must equal the version in its commit."""
    make_release(plan_release(clone.root, "channels-redis-queue", "minor"))
    with pytest.raises(ReleaseError, match=r"tag is .*-v1\.2\.0, but .* is 1\.1\.0"):
        check_tag(clone.root, "channels-redis-queue-v1.2.0")


def test_tag_without_a_changelog_is_refused(clone: Clone) -> None:
    """A tag made by hand, the changelog not built, publishes nothing."""
    with pytest.raises(ReleaseError) as raised:
        check_tag(clone.root, "channels-redis-queue-v1.0.4")
    assert "CHANGELOG.md has no section for 1.0.4" in str(raised.value)
    assert "changelog.d still has 7.fixed.md" in str(raised.value)


@pytest.mark.parametrize("tag", ["v1.0.4", "channels-redis-queue-1.0.4", "channels-redis-queue-v"])
def test_other_tags_are_refused(clone: Clone, tag: str) -> None:
    """What does not have the form of a release's tag is refused."""
    with pytest.raises(ReleaseError, match="is no tag of a release"):
        check_tag(clone.root, tag)


def test_workflow_is_told_package_and_version(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later jobs of the workflow learn from its outputs what they publish."""
    make_release(plan_release(clone.root, "channels-redis", "patch"))
    outputs = tmp_path / "outputs"
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    monkeypatch.setattr(sys, "argv", ["releasing", "check-tag", "channels-redis-v5.2.1"])
    command_line.run(command_line.make_parser().parse_args(), clone.root)
    assert outputs.read_text() == "package=channels-redis\nversion=5.2.1\n"
