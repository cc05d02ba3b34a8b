"""Which changelog fragments a change needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from releasing.fragments import check_fragments
from releasing.packages import ReleaseError
from support.builds import LAYERS, PACKAGES

if TYPE_CHECKING:
    from .conftest import Clone

SHARED = "shared/src/channels_redis_shared/transport/shards.py"
QUEUE = "packages/channels-redis-queue"


def packages_missing(clone: Clone) -> list[str]:
    """Return the packages that are said to lack a fragment, in the order of the message."""
    try:
        check_fragments(clone.root, "origin/main")
    except ReleaseError as error:
        return re.findall(r"^(\S+) has no changelog fragment", str(error), re.MULTILINE)
    return []


def fragment(package: str, name: str = "+new.added.md") -> str:
    """Return the path of a fragment."""
    return f"packages/{package}/changelog.d/{name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_change_in_a_package_needs_a_fragment_there(clone: Clone, package: str) -> None:
    """A change in one package asks for a fragment in that one alone, until there is one."""
    path = clone.package(package).module.relative_to(clone.root)
    clone.write(f"{path.as_posix()}/new.py", "# new\n")
    assert packages_missing(clone) == [package]
    clone.write(fragment(package), "Something new.\n")
    assert packages_missing(clone) == []


def test_change_in_shared_needs_a_fragment_in_both_layers(clone: Clone) -> None:
    """A change of the shared module asks both layers for a fragment, and names the one missing."""
    clone.write(SHARED, "# changed\n")
    clone.commit()
    assert packages_missing(clone) == list(LAYERS)
    clone.write(fragment("channels-redis-queue"), "Something new.\n")
    clone.commit()
    assert packages_missing(clone) == ["channels-redis-pubsub"]
    clone.write(fragment("channels-redis-pubsub"), "Something new.\n")
    clone.commit()
    assert packages_missing(clone) == []


def test_message_says_what_to_write_and_why(clone: Clone) -> None:
    """The error names the path that changed, and the file to write with its possible types."""
    clone.write(f"{QUEUE}/src/channels_redis_queue/lua/send.lua", "return 1\n")
    with pytest.raises(ReleaseError) as raised:
        check_fragments(clone.root, "origin/main")
    assert "packages/channels-redis-queue/src/channels_redis_queue/lua/send.lua changed" in str(
        raised.value
    )
    assert f"Write {QUEUE}/changelog.d/<issue number, or + and a word>." in str(raised.value)
    assert "<added|changed|removed|fixed|internal>.md" in str(raised.value)


@pytest.mark.parametrize(
    "path", ["docs/new.md", "tests/unit/test_new.py", f"{QUEUE}/README.md", "hatch.toml"]
)
def test_change_outside_the_archives_needs_none(clone: Clone, path: str) -> None:
    """Documentation, tests and tools ask for no fragment."""
    clone.write(path, "changed\n")
    assert packages_missing(clone) == []


def test_packaging_needs_a_fragment(clone: Clone) -> None:
    """A package's metadata is part of what its users get."""
    clone.replace(f"{QUEUE}/pyproject.toml", '"redis>=5.0",\n]', '"redis>=5.1",\n]')
    assert packages_missing(clone) == ["channels-redis-queue"]


def test_removing_a_file_needs_a_fragment_and_a_removed_one_counts_for_nothing(
    clone: Clone,
) -> None:
    """A deleted module asks for a fragment, and deleting a fragment is no way to have one."""
    (clone.root / SHARED).unlink()
    (clone.root / fragment("channels-redis-queue", "7.fixed.md")).unlink()
    assert packages_missing(clone) == list(LAYERS)


def test_what_came_to_the_main_branch_meanwhile_is_not_the_change(clone: Clone) -> None:
    """Changes that landed on main after the branch began ask this branch for nothing."""
    clone.git("branch", "-q", "topic")
    clone.write(SHARED, "# changed on main\n")
    clone.commit()
    clone.git("update-ref", "refs/remotes/origin/main", "HEAD")
    clone.git("switch", "-q", "topic")
    clone.write("docs/new.md", "changed\n")
    clone.commit()
    assert packages_missing(clone) == []


@pytest.mark.parametrize(
    "name", ["new.md", "12.md", "12.bugfix.md", "+new.added.rst", "two words.added.md"]
)
def test_misnamed_fragment_is_found(clone: Clone, name: str) -> None:
    """A fragment that would not get into the changelog is an error, also in an old commit."""
    clone.write(fragment("channels-redis", name), "Something new.\n")
    clone.commit()
    clone.git("update-ref", "refs/remotes/origin/main", "HEAD")
    with pytest.raises(ReleaseError, match="is no name of a fragment"):
        check_fragments(clone.root, "origin/main")


def test_empty_fragment_is_found(clone: Clone) -> None:
    """An empty fragment does not count."""
    clone.write(fragment("channels-redis"), "\n")
    with pytest.raises(ReleaseError, match=r"\+new\.added\.md is empty"):
        check_fragments(clone.root, "origin/main")


@pytest.mark.parametrize("name", ["12.fixed.md", "12.fixed.2.md", "+a-word.internal.md"])
def test_every_form_of_a_name_is_taken(clone: Clone, name: str) -> None:
    """Issue numbers, several fragments of one issue, and words are all right."""
    clone.write(fragment("channels-redis", name), "Something new.\n")
    assert packages_missing(clone) == []


def test_unknown_start_is_an_error(clone: Clone) -> None:
    """A start that git does not know is an error with git's message, not an empty change."""
    with pytest.raises(ReleaseError, match="git merge-base nowhere HEAD failed"):
        check_fragments(clone.root, "nowhere")
