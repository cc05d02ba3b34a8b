"""The Lua scripts of the history of groups. Each header tells purpose, keys, arguments, result."""

from __future__ import annotations

from pkgutil import get_data

from ..transport.commands import Script


def _load(name: str) -> Script:
    # Not importlib.resources, whose import takes long.
    source = get_data(__package__, f"lua/{name}.lua")
    if source is None:
        raise FileNotFoundError(f"{__package__} was loaded from where no files can be read")
    return Script.of(source.decode())


APPEND = _load("append")
READ = _load("read")
ALL = (APPEND, READ)
