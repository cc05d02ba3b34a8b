"""Making a release with the commands of CONTRIBUTING.md, and the check of its tag."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from support.builds import PACKAGES, REPOSITORY, read_toml, run_ok

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Clone

pytestmark = pytest.mark.packaging

QUEUE = "channels-redis-queue"
FOLDER = f"packages/{QUEUE}"
SCRIPTS = read_toml(REPOSITORY / "hatch.toml")["envs"]["release"]["scripts"]


def release(clone: Clone, package: str, step: str = "") -> str:
    """Raise the version, build the changelog, commit and tag; return the tag."""
    hatchling = (sys.executable, "-m", "hatchling", "version")
    folder = clone.tree.package(package)
    if step:
        run_ok(*hatchling, step, cwd=folder)
    version = run_ok(*hatchling, cwd=folder).strip()
    command = re.sub(r"\$\(.*\)", version, SCRIPTS["changelog"].replace("{args}", package))
    run_ok(sys.executable, "-m", *command.split(), cwd=clone.root)
    clone.commit(f"Release {package} {version}")
    tag = f"{package}-v{version}"
    clone.git("tag", "-a", tag, "-m", f"Release {package} {version}")
    return tag


def refusal(clone: Clone, tag: str) -> str:
    """Return why a tag is refused."""
    checked = clone.run("check_tag.py", tag, "--branch", "main")
    assert checked.returncode == 1
    return checked.stderr


def test_release_changes_version_and_changelog(clone: Clone) -> None:
    """A release raises the version and moves the fragments to the changelog, in one package."""
    before = clone.git("rev-parse", "HEAD")
    release(clone, QUEUE, "minor")
    assert clone.git("rev-parse", "HEAD~1") == before
    assert clone.git("show", "--format=", "--name-status", "HEAD").splitlines() == [
        f"M\t{FOLDER}/CHANGELOG.md",
        f"D\t{FOLDER}/changelog.d/7.fixed.md",
        f"M\t{FOLDER}/src/channels_redis_queue/__init__.py",
    ]
    changelog = (clone.root / FOLDER / "CHANGELOG.md").read_text()
    assert "\n## 1.1.0 (" in changelog
    assert f"- A fix in {QUEUE}. ([#7](" in changelog


@pytest.mark.parametrize("package", PACKAGES)
def test_workflow_learns_package_and_version_from_the_tag(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    """The package of a tag is found, though one package's name begins the others'."""
    tag = release(clone, package, "minor")
    outputs = tmp_path / "outputs"
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    assert clone.run("check_tag.py", tag, "--branch", "main").returncode == 0
    assert outputs.read_text() == f"package={package}\nversion=1.1.0\n"
    assert clone.run("check_fragments.py", "--since", "origin/main").returncode == 0


def test_tag_of_another_version_is_refused(clone: Clone) -> None:
    """A tag must equal the version in its commit, and the changelog must have it."""
    release(clone, QUEUE, "minor")
    assert refusal(clone, f"{QUEUE}-v1.2.0").splitlines()[1:] == [
        f"__version__ in {FOLDER}/src/channels_redis_queue/__init__.py is not 1.2.0",
        f"{FOLDER}/CHANGELOG.md has no section for 1.2.0",
    ]


def test_tag_beside_main_is_refused(clone: Clone) -> None:
    """A commit that was never merged publishes nothing, even if its tag is pushed."""
    clone.git("checkout", "--quiet", "-b", "mine")
    tag = release(clone, QUEUE, "minor")
    assert "the commit is not on main: merge it, and tag it there" in refusal(clone, tag)
    clone.git("checkout", "--quiet", "main")
    clone.git("merge", "--quiet", "--ff-only", "mine")
    clone.write("later", "Main may be further on.")
    clone.commit()
    clone.git("checkout", "--quiet", tag)
    assert clone.run("check_tag.py", tag, "--branch", "main").returncode == 0


@pytest.mark.parametrize(
    "tag", ["v1.0.4", "-v1.0.4", f"{QUEUE}-1.0.4", f"{QUEUE}-v", "channels-redis-other-v1.0.4"]
)
def test_other_tags_are_refused(clone: Clone, tag: str) -> None:
    """A tag that names no package, or no version, is refused."""
    checked = clone.run("check_tag.py", "--branch", "main", "--", tag)
    assert checked.returncode == 1
    assert tag in checked.stderr
