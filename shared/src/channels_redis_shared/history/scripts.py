"""The Lua scripts of the history of groups. Each header states purpose, keys, arguments, result."""

from __future__ import annotations

from ..transport.commands import Script

_COMMON = Script.read(__package__, "common").source
APPEND = Script.of(_COMMON + Script.read(__package__, "append").source)
READ = Script.of(_COMMON + Script.read(__package__, "read").source)
ALL = (APPEND, READ)
