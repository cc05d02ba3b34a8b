"""Which version of this module a layer carries."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Traversable


def tree_id(package: str) -> str:
    """Return git's id of a folder of source files, from the files themselves.

    It is the same as ``git rev-parse <commit>:<folder>`` of the commits that the copy was built
    from, and another one when a file of the copy was changed after that.

    Args:
        package: The import name of a package.

    Returns:
        40 hex digits; of no files, if only compiled ones are installed.
    """
    return _tree(files(package)).hex()


def _tree(folder: Traversable) -> bytes:
    entries = []
    for item in folder.iterdir():
        name = item.name.encode()
        if item.name.endswith(".py"):
            blob = _git_hash(b"blob", item.read_bytes())
            entries.append((name, b"100644 %s\0%s" % (name, blob)))
        elif item.is_dir() and item.joinpath("__init__.py").is_file():
            # git sorts a folder as if its name ended in a slash.
            entries.append((name + b"/", b"40000 %s\0%s" % (name, _tree(item))))
    return _git_hash(b"tree", b"".join(entry for _, entry in sorted(entries)))


def _git_hash(kind: bytes, data: bytes) -> bytes:
    # git's own algorithm; nothing here has to withstand an attacker.
    return hashlib.sha1(b"%s %d\0%s" % (kind, len(data), data), usedforsecurity=False).digest()
