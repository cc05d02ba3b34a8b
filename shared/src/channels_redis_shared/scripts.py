"""Lua scripts as commands: each is sent by its hash, and loaded when a connection opens."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .connections import Argument, Command


@dataclass(frozen=True)
class Script:
    """A Lua script that a server runs atomically."""

    source: str
    sha: str

    @classmethod
    def of(cls, source: str) -> Script:
        """Return the script with this Lua source."""
        return cls(source, hashlib.sha1(source.encode()).hexdigest())  # noqa: S324 - Redis's name for it

    @property
    def load(self) -> Command:
        """The command that makes a server know the script."""
        return ("SCRIPT", "LOAD", self.source)

    def call(self, keys: Sequence[str], *arguments: Argument) -> Command:
        """Return the command that runs the script, on a server that knows it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)

    def call_with_source(self, keys: Sequence[str], *arguments: Argument) -> Command:
        """Return the command that runs the script on any server."""
        return ("EVAL", self.source, len(keys), *keys, *arguments)
