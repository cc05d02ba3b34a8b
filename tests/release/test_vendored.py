"""What says which version of the shared module a layer carries."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import channels_redis_pubsub
import channels_redis_queue
from builds import LAYERS, SHARED, module_of, run_ok
from releasing.packages import ReleaseError
from releasing.vendored import find_commits

if TYPE_CHECKING:
    from types import ModuleType

    from .conftest import Clone


def run_in(clone: Clone, layer: str, code: str) -> str:
    """Run code in a process that imports a layer from the clone; return what it printed."""
    source = clone.package(layer).module.parent
    imports = f"import sys; sys.path[0] = {str(source)!r}; import {module_of(layer)} as layer\n"
    return run_ok(sys.executable, "-c", imports + code).strip()


@pytest.mark.parametrize("layer", LAYERS)
def test_shared_is_the_id_that_git_gives_the_folder(clone: Clone, layer: str) -> None:
    """A layer's `__shared__` equals git's id of the folder that it vendors, and follows changes."""
    git_id = ("rev-parse", f"HEAD:{SHARED.as_posix()}")
    before = clone.git(*git_id).strip()
    assert run_in(clone, layer, "print(layer.__shared__)") == before
    clone.write(f"{SHARED}/new.py", "NEW = 1\n")
    clone.commit()
    assert run_in(clone, layer, "print(layer.__shared__)") == clone.git(*git_id).strip() != before


@pytest.mark.parametrize("layer", [channels_redis_pubsub, channels_redis_queue])
def test_other_attributes_are_missing(layer: ModuleType) -> None:
    """Working out `__shared__` late makes no attribute of what is none."""
    with pytest.raises(AttributeError, match="has no attribute '__shard__'"):
        _ = layer.__shard__


def test_importing_a_layer_does_not_read_its_files(clone: Clone) -> None:
    """The id is worked out when it is asked for: no import pays for it."""
    code = (
        "name = f'{layer.__name__}._shared.origin'\n"
        "print(name in sys.modules, len(layer.__shared__), name in sys.modules)\n"
    )
    assert run_in(clone, "channels-redis-queue", code) == "False 40 True"


def test_commits_of_a_reported_id_are_found(clone: Clone) -> None:
    """Maintainers find the commits that hold exactly what a bug report names."""
    reported = run_in(clone, "channels-redis-queue", "print(layer.__shared__)")
    first = clone.git("rev-parse", "HEAD").strip()
    clone.write(f"{SHARED}/sharding.py", "# changed\n")
    clone.commit("Changes the shared module")
    clone.write("docs/new.md", "changed\n")
    clone.commit("Changes something else")
    found = find_commits(clone.root, reported)
    assert first in found
    assert "Changes" not in found
    now = clone.git("rev-parse", f"HEAD:{SHARED.as_posix()}")[:12]
    assert [line.split(" ", 2)[2] for line in find_commits(clone.root, now).splitlines()] == [
        "Changes something else",
        "Changes the shared module",
    ]


def test_unknown_id_is_told(clone: Clone) -> None:
    """An id that no commit has, and what is no id, are errors that say so."""
    with pytest.raises(ReleaseError, match="no commit of this clone has it"):
        find_commits(clone.root, "0" * 40)
    with pytest.raises(ReleaseError, match="is no value of __shared__"):
        find_commits(clone.root, "1.0.0")
