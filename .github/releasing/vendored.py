"""Which commits hold the shared module that an installed layer carries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .packages import ReleaseError, git

if TYPE_CHECKING:
    from pathlib import Path

SHARED = "shared/src/channels_redis_shared"


def tree_id(root: Path, commit: str) -> str:
    """Return what ``__shared__`` of a layer is that was built from a commit."""
    return git(root, "rev-parse", f"{commit}:{SHARED}").strip()


def find_commits(root: Path, shared: str) -> str:
    """Return the commits whose shared module is ``shared``, newest first, a line for each.

    Args:
        root: The repository.
        shared: The value of ``__shared__`` that was reported, or how it begins.

    Raises:
        ReleaseError: It isn't a hash, or no commit has it.
    """
    if not re.fullmatch("[0-9a-f]{7,40}", shared):
        raise ReleaseError(f"{shared!r} is no value of __shared__, which is 40 hex digits")
    history = git(root, "log", "--all", "--format=%H %cs %s").splitlines()
    holds = [line for line in history if _holds(root, line.split(" ", 1)[0], shared)]
    if not holds:
        raise ReleaseError(
            f"no commit of this clone has it (HEAD has {tree_id(root, 'HEAD')}): fetch, or "
            "the copy was changed after it was built"
        )
    return "\n".join(holds)


def _holds(root: Path, commit: str, shared: str) -> bool:
    try:
        return tree_id(root, commit).startswith(shared)
    except ReleaseError:  # A commit from before there was a shared module.
        return False
