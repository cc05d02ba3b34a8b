"""Making the commit and the tag of a release."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from releasing.fragments import check_fragments
from releasing.packages import ReleaseError
from releasing.preparing import describe, make_release, next_version, plan_release
from releasing.tags import check_tag
from support.builds import run, run_ok

if TYPE_CHECKING:
    from .conftest import Clone

QUEUE = "channels-redis-queue"
PUBSUB = "channels-redis-pubsub"
FOLDER = f"packages/{QUEUE}"


def state(clone: Clone) -> str:
    """Return all that a release changes: commits, tags and files."""
    return clone.git("log", "--format=%H%d") + clone.git("status", "--porcelain")


@pytest.mark.parametrize(
    ("step", "after"),
    [("major", "2.0.0"), ("minor", "1.3.0"), ("patch", "1.2.4"), ("current", "1.2.3")],
)
def test_next_version(step: str, after: str) -> None:
    """Each step raises its part and sets those after it to 0."""
    assert next_version(Version("1.2.3"), step) == Version(after)


def test_release_is_one_commit_and_one_tag(clone: Clone) -> None:
    """A release raises the version, moves the fragments to the changelog, commits and tags."""
    before = clone.git("rev-parse", "HEAD")
    make_release(plan_release(clone.root, QUEUE, "minor"))
    assert clone.git("rev-parse", "HEAD~1") == before
    assert clone.git("status", "--porcelain") == ""
    assert clone.git("show", "--format=%s", "--name-status", "HEAD").split("\n") == [
        "Release channels-redis-queue 1.1.0",
        "",
        f"M\t{FOLDER}/CHANGELOG.md",
        f"D\t{FOLDER}/changelog.d/7.fixed.md",
        f"M\t{FOLDER}/src/channels_redis_queue/__init__.py",
        "",
    ]
    assert clone.git("cat-file", "-t", "channels-redis-queue-v1.1.0") == "tag\n"
    assert clone.git("rev-parse", "channels-redis-queue-v1.1.0^{}") == clone.git(
        "rev-parse", "HEAD"
    )
    changelog = clone.package(QUEUE).changelog.read_text()
    assert "\n## 1.1.0 (" in changelog
    assert "- A fix in channels-redis-queue. ([#7](" in changelog
    assert str(clone.package(QUEUE).version) == "1.1.0"


def test_release_passes_the_checks_of_its_workflow(clone: Clone) -> None:
    """The tag that a release makes is right, and its commit needs no fragment."""
    make_release(plan_release(clone.root, QUEUE, "patch"))
    assert check_tag(clone.root, f"{QUEUE}-v1.0.5", "main").name == QUEUE
    assert check_fragments(clone.root, "origin/main")


def test_second_release_stands_above_the_first(clone: Clone) -> None:
    """The changelog's newest section comes first, and the older stay."""
    make_release(plan_release(clone.root, QUEUE, "current"))
    clone.write(f"{FOLDER}/changelog.d/8.added.md", "The second.\n")
    clone.commit()
    make_release(plan_release(clone.root, QUEUE, "minor"))
    changelog = clone.package(QUEUE).changelog.read_text()
    assert 0 < changelog.index("## 1.1.0") < changelog.index("The second.")
    assert changelog.index("The second.") < changelog.index("## 1.0.4")


def test_other_packages_stay(clone: Clone) -> None:
    """A release of one package leaves the others' versions, changelogs and fragments alone."""
    make_release(plan_release(clone.root, PUBSUB, "minor"))
    changed = clone.git("diff", "--name-only", "HEAD~1").split()
    assert {path.split("/")[1] for path in changed} == {PUBSUB}


def test_dry_run_says_all_and_changes_nothing(clone: Clone) -> None:
    """A dry run tells the version, the changelog, the commit and the tag, and leaves all as is."""
    before = state(clone)
    said = describe(plan_release(clone.root, QUEUE, "minor"))
    for part in ("1.0.4 -> 1.1.0", "## 1.1.0 (", "A fix in channels-redis-queue.", "7.fixed.md"):
        assert part in said
    assert "tag:     channels-redis-queue-v1.1.0" in said
    assert "there is no tag of 1.0.4" in said
    assert state(clone) == before


def test_command_line(clone: Clone) -> None:
    """The command that people type does what the functions do, in the repository it lies in."""
    command = (sys.executable, "-m", "releasing", "prepare", QUEUE, "minor")
    here = clone.root / ".github"
    assert "1.0.4 -> 1.1.0" in run_ok(*command, "--dry-run", cwd=here)
    assert f"git push --atomic origin HEAD {QUEUE}-v1.1.0" in run_ok(*command, cwd=here)
    again = run(*command, cwd=here)
    assert again.returncode == 1
    assert again.stderr.startswith("error: nothing waits for the changelog")


def test_unknown_package_is_refused(clone: Clone) -> None:
    """A misspelt package is an error that names the nearest one."""
    with pytest.raises(ReleaseError, match=r"Did you mean channels-redis-queue\?"):
        plan_release(clone.root, "channels-redis-queu", "minor")


def test_version_that_is_tagged_is_refused(clone: Clone) -> None:
    """A version is released once."""
    clone.git("tag", f"{QUEUE}-v1.0.4")
    with pytest.raises(ReleaseError, match=r"channels-redis-queue-v1\.0\.4 is there already"):
        plan_release(clone.root, QUEUE, "current")


def test_changed_files_are_refused(clone: Clone) -> None:
    """A release holds nothing that was not committed, not even a new file."""
    clone.write("docs/new.md", "not committed\n")
    before = state(clone)
    with pytest.raises(ReleaseError, match="docs/"):
        make_release(plan_release(clone.root, QUEUE, "minor"))
    assert state(clone) == before


def test_version_outside_the_range_of_the_meta_package_is_refused(clone: Clone) -> None:
    """A layer's new major version needs a wider range first; the error says in which file."""
    with pytest.raises(ReleaseError, match=r"packages/channels-redis/pyproject\.toml .*<3$"):
        plan_release(clone.root, QUEUE, "major")
    clone.replace(
        "packages/channels-redis/pyproject.toml",
        '"channels-redis-queue>=1,<2"',
        '"channels-redis-queue>=1,<3"',
    )
    clone.commit()
    assert plan_release(clone.root, QUEUE, "major").tag == "channels-redis-queue-v2.0.0"


def test_beta_that_becomes_stable_needs_its_classifier(clone: Clone) -> None:
    """Version 1 of a package that states to be a beta is refused."""
    with pytest.raises(ReleaseError, match="Production/Stable"):
        plan_release(clone.root, PUBSUB, "major")


def test_refused_commit_can_be_undone(clone: Clone) -> None:
    """When a git hook refuses the commit, the error's command brings everything back."""
    before = state(clone)
    hook = clone.root / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho refused >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(ReleaseError, match="refused") as raised:
        make_release(plan_release(clone.root, QUEUE, "minor"))
    assert state(clone) != before
    clone.git(*str(raised.value).rpartition("To go back to where it began: git ")[2].split())
    assert state(clone) == before
