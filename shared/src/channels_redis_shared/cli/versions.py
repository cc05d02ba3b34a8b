"""Which versions of everything are installed: what a bug report needs."""

from __future__ import annotations

import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .subject import Subject

_OTHERS = ("channels-redis", "channels", "Django", "redis", "hiredis", "msgpack", "cryptography")


def versions(subject: Subject) -> dict[str, str]:
    """Return the versions of Python, of the package, and of what it works with."""
    found = {
        "Python": platform.python_version(),
        subject.package: import_module(subject.package).__version__,
    }
    for name in _OTHERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
