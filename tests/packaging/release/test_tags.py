"""Tags that start the workflow which publishes."""

from __future__ import annotations

import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from releasing import __main__ as command_line
from releasing.packages import ReleaseError
from releasing.preparing import make_release, plan_release
from releasing.tags import check_tag
from support.builds import PACKAGES

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Clone

MAIN = "main"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder that stands for PyPI: what lies there, and no more, can be installed."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    return folder


def publish(index: Path, name: str, version: str) -> None:
    """Put a wheel into the index."""
    module = name.replace("-", "_")
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(index / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        for file, text in files.items():
            wheel.writestr(f"{module}-{version}.dist-info/{file}", text)


def publish_layers(index: Path) -> None:
    """Put a version of each layer into the index that the meta-package of the template takes."""
    publish(index, "channels-redis-queue", "1.0.4")
    publish(index, "channels-redis-pubsub", "0.9.3")


@pytest.mark.parametrize("package", PACKAGES)
def test_tag_of_a_release_names_its_package(clone: Clone, index: Path, package: str) -> None:
    """Each package is told from its tag, though one's name begins the others'."""
    publish_layers(index)
    plan = plan_release(clone.root, package, "minor")
    make_release(plan)
    assert check_tag(clone.root, plan.tag, MAIN).name == package


def test_tag_of_another_version_is_refused(clone: Clone) -> None:
    """A tag must equal the version in its commit."""
    make_release(plan_release(clone.root, "channels-redis-queue", "minor"))
    with pytest.raises(ReleaseError, match=r"tag is .*-v1\.2\.0, but .* is 1\.1\.0"):
        check_tag(clone.root, "channels-redis-queue-v1.2.0", MAIN)


def test_tag_without_a_changelog_is_refused(clone: Clone) -> None:
    """A tag made by hand, the changelog not built, publishes nothing."""
    with pytest.raises(ReleaseError) as raised:
        check_tag(clone.root, "channels-redis-queue-v1.0.4", MAIN)
    assert "CHANGELOG.md has no section for 1.0.4" in str(raised.value)
    assert "changelog.d still has 7.fixed.md" in str(raised.value)


def test_tag_beside_main_is_refused(clone: Clone) -> None:
    """A commit that was never merged publishes nothing, whoever may push its tag."""
    clone.git("checkout", "--quiet", "-b", "mine")
    plan = plan_release(clone.root, "channels-redis-queue", "minor")
    make_release(plan)
    with pytest.raises(ReleaseError, match="its commit is not on main: merge it, and tag it there"):
        check_tag(clone.root, plan.tag, MAIN)
    clone.git("checkout", "--quiet", MAIN)
    clone.git("merge", "--quiet", "--ff-only", "mine")
    clone.write("later", "Main may be further on.")
    clone.commit()
    clone.git("checkout", "--quiet", plan.tag)
    assert check_tag(clone.root, plan.tag, MAIN).name == "channels-redis-queue"


def test_meta_package_waits_for_the_layers(clone: Clone, index: Path) -> None:
    """Nobody could install it before both layers are released in a version that it takes."""
    plan = plan_release(clone.root, "channels-redis", "patch")
    make_release(plan)
    publish(index, "channels-redis-queue", "0.9.0")
    publish(index, "channels-redis-pubsub", "0.9.3")
    with pytest.raises(ReleaseError) as raised:
        check_tag(clone.root, plan.tag, MAIN)
    assert "release channels-redis-queue first" in str(raised.value)
    assert "release channels-redis-pubsub first" not in str(raised.value)
    publish(index, "channels-redis-queue", "1.0.4")
    assert check_tag(clone.root, plan.tag, MAIN).name == "channels-redis"


@pytest.mark.parametrize("tag", ["v1.0.4", "channels-redis-queue-1.0.4", "channels-redis-queue-v"])
def test_other_tags_are_refused(clone: Clone, tag: str) -> None:
    """What does not have the form of a release's tag is refused."""
    with pytest.raises(ReleaseError, match="is no tag of a release"):
        check_tag(clone.root, tag, MAIN)


def test_workflow_is_told_package_and_version(
    clone: Clone, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later jobs of the workflow learn from its outputs what they publish."""
    publish_layers(index)
    make_release(plan_release(clone.root, "channels-redis", "patch"))
    outputs = tmp_path / "outputs"
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    monkeypatch.setattr(
        sys, "argv", ["releasing", "check-tag", "channels-redis-v5.2.1", "--branch", MAIN]
    )
    command_line.run(command_line.make_parser().parse_args(), clone.root)
    assert outputs.read_text() == "package=channels-redis\nversion=5.2.1\n"
