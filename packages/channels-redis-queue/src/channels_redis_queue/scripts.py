"""The Lua scripts of the queue protocol. Each header tells purpose, keys, arguments and result."""

from __future__ import annotations

from pkgutil import get_data

from ._shared.transport.commands import Script


def _load(name: str) -> Script:
    # Not importlib.resources, whose import takes half as long as all that the layer imports.
    source = get_data(__package__, f"lua/{name}.lua")
    if source is None:
        raise FileNotFoundError(f"{__package__} was loaded from where no files can be read")
    return Script.of(source.decode())


SEND = _load("send")
TAKE = _load("take")
RELEASE = _load("release")
LEAVE = _load("leave")
GROUP_ADD = _load("group_add")
GROUP_DISCARD = _load("group_discard")
GROUP_FORGET = _load("group_forget")
GROUP_MEMBERS = _load("group_members")
GROUP_SIZE = _load("group_size")
SWAP = _load("swap")
MARK_GONE = _load("mark_gone")

ALL = (
    SEND,
    TAKE,
    RELEASE,
    LEAVE,
    GROUP_ADD,
    GROUP_DISCARD,
    GROUP_FORGET,
    GROUP_MEMBERS,
    GROUP_SIZE,
    SWAP,
    MARK_GONE,
)
