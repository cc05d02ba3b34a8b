"""A release with the commands of CONTRIBUTING.md, and the check of its tag."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from support.builds import PACKAGES, REPOSITORY, module_of, read_toml, run_ok

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Clone

pytestmark = pytest.mark.packaging

QUEUE = "channels-redis-queue"
FOLDER = f"packages/{QUEUE}"
SCRIPTS = read_toml(REPOSITORY / "hatch.toml")["envs"]["release"]["scripts"]


def release(clone: Clone, package: str) -> str:
    """Raise the version, build the changelog, commit and tag; return the tag."""
    hatchling = (sys.executable, "-m", "hatchling", "version")
    run_ok(*hatchling, "minor", cwd=clone.package(package))
    version = run_ok(*hatchling, cwd=clone.package(package)).strip()
    command = re.sub(r"\$\(.*\)", version, SCRIPTS["changelog"].replace("{args}", package))
    run_ok(sys.executable, "-m", *command.split(), cwd=clone.root)
    clone.commit(f"Release {package} {version}")
    tag = f"{package}-v{version}"
    clone.git("tag", "-a", tag, "-m", f"Release {package} {version}")
    return tag


def refusal(clone: Clone, *tag: str) -> str:
    """Return why a tag is refused."""
    checked = clone.run("check_tag.py", "--branch", "main", *tag)
    assert checked.returncode == 1
    return checked.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_release(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    """It raises one package's version, moves its fragments to the changelog, and may be tagged.

    The workflow learns the package from the tag, though one package's name begins the others'.
    """
    tag = release(clone, package)
    folder = f"packages/{package}"
    assert clone.git("show", "--format=", "--name-status", "HEAD").splitlines() == [
        f"M\t{folder}/CHANGELOG.md",
        f"D\t{folder}/changelog.d/7.fixed.md",
        f"M\t{folder}/src/{module_of(package)}/__init__.py",
    ]
    changelog = (clone.root / folder / "CHANGELOG.md").read_text()
    assert "\n## 1.1.0 (" in changelog
    assert f"- A fix in {package}. ([#7](" in changelog
    outputs = tmp_path / "outputs"
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    assert clone.run("check_tag.py", tag, "--branch", "main").returncode == 0
    assert outputs.read_text() == f"package={package}\nversion=1.1.0\n"
    assert clone.run("check_fragments.py", "--since", "origin/main").returncode == 0


def test_tag_of_another_version_is_refused(clone: Clone) -> None:
    """A tag must equal the version in its commit, and the changelog must have it."""
    release(clone, QUEUE)
    assert refusal(clone, f"{QUEUE}-v1.2.0").splitlines()[1:] == [
        f"__version__ in {FOLDER}/src/channels_redis_queue/__init__.py is not 1.2.0",
        f"{FOLDER}/CHANGELOG.md has no section for 1.2.0",
    ]


def test_tag_beside_main_is_refused(clone: Clone) -> None:
    """A commit that was never merged publishes nothing, even if its tag is pushed."""
    clone.git("checkout", "--quiet", "-b", "mine")
    tag = release(clone, QUEUE)
    assert "the commit is not on main: merge it, and tag it there" in refusal(clone, tag)


@pytest.mark.parametrize(
    "tag", ["v1.0.4", "-v1.0.4", f"{QUEUE}-1.0.4", f"{QUEUE}-v", "channels-redis-other-v1.0.4"]
)
def test_other_tags_are_refused(clone: Clone, tag: str) -> None:
    """A tag that names no package, or no version, is refused."""
    assert tag in refusal(clone, "--", tag)
