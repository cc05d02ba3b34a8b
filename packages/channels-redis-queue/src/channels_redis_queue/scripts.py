"""The scripts of the queue's protocol. What each does, and with what, its own header says."""

from __future__ import annotations

from importlib.resources import files

from ._shared.scripts import Script


def _load(name: str) -> Script:
    return Script.of((files(__package__) / "lua" / f"{name}.lua").read_text("utf-8"))


SEND = _load("send")
TAKE = _load("take")
RELEASE = _load("release")
LEAVE = _load("leave")
GROUP_ADD = _load("group_add")
GROUP_DISCARD = _load("group_discard")
GROUP_FORGET = _load("group_forget")
GROUP_MEMBERS = _load("group_members")

ALL = (SEND, TAKE, RELEASE, LEAVE, GROUP_ADD, GROUP_DISCARD, GROUP_FORGET, GROUP_MEMBERS)
