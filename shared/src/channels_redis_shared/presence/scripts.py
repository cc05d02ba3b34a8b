"""The Lua scripts of presence. Each header states purpose, keys, arguments and result.

They are sent with their source, so that connections of layers without presence load none.
"""

from __future__ import annotations

import re

from ..transport.commands import Script


def _load(name: str) -> Script:
    # Without the comments, as it is sent each time.
    return Script.of(re.sub(r"(?m)^--.*\n", "", Script.read(__package__, name).source))


CHANGE = _load("change")
BEAT = _load("beat")
