"""The Lua scripts of the history of groups. Each header tells purpose, keys, arguments, result."""

from __future__ import annotations

from ..transport.commands import Script

APPEND = Script.read(__package__, "append")
READ = Script.read(__package__, "read")
ALL = (APPEND, READ)
