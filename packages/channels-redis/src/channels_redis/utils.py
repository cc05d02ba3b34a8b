"""Raise errors that name the replacements of channels_redis 4's helpers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._former_names import refuse

__all__: list[str] = []

if not TYPE_CHECKING:  # Type checkers would accept every name.

    def __getattr__(name: str) -> object:
        """Raise an error that names what replaces a name of channels_redis 4."""
        return refuse(__name__, name)
