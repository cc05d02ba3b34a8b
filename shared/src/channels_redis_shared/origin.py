"""Which version of this module a layer carries."""

from __future__ import annotations

import hashlib
from importlib.resources import files


def tree_id(package: str) -> str:
    """Return git's id of a folder of source files, from the files themselves.

    It is the same as ``git rev-parse <commit>:<folder>`` of the commits that the copy was built
    from, and another one when a file of the copy was changed after that.

    Args:
        package: The import name of a package without subpackages.

    Returns:
        40 hex digits; of no files, if only compiled ones are installed.
    """
    tree = b""
    for file in sorted(files(package).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".py"):
            entry = b"100644 %s\0" % file.name.encode()
            tree += entry + _git_hash(b"blob", file.read_bytes())
    return _git_hash(b"tree", tree).hex()


def _git_hash(kind: bytes, data: bytes) -> bytes:
    # git's own algorithm; nothing here has to withstand an attacker.
    return hashlib.sha1(b"%s %d\0%s" % (kind, len(data), data), usedforsecurity=False).digest()
