"""The Lua scripts of the queue protocol. Each header states purpose, keys, arguments and result."""

from __future__ import annotations

from ._shared.transport.commands import Script

ALL: list[Script] = []


def _load(name: str) -> Script:
    script = Script.read(__package__, name)
    ALL.append(script)
    return script


SEND = _load("send")
TAKE = _load("take")
RELEASE = _load("release")
GROUP_ADD = _load("group_add")
GROUP_DISCARD = _load("group_discard")
GROUP_FORGET = _load("group_forget")
GROUP_MEMBERS = _load("group_members")
MARK_GONE = _load("mark_gone")
SWAP = _load("swap")
