"""The Lua scripts of presence. Each header tells purpose, keys, arguments and result.

They are sent with their source, so that connections of layers without presence load none.
"""

from __future__ import annotations

import re
from pkgutil import get_data

from ..transport.commands import Script


def _load(name: str) -> Script:
    # Not importlib.resources, whose import takes long.
    source = get_data(__package__, f"lua/{name}.lua")
    if source is None:
        raise FileNotFoundError(f"{__package__} was loaded from where no files can be read")
    # Without the comments, as it is sent each time.
    return Script.of(re.sub(r"(?m)^--.*\n", "", source.decode()))


CHANGE = _load("change")
REAP = _load("reap")
PEOPLE = _load("people")
RENEW = _load("renew")
RELEASE = _load("release")
SWAP = _load("swap")
