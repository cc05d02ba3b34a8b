"""Has nothing any more; says what replaces the helpers that channels_redis 4 had here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._former_names import refuse

__all__: list[str] = []

if not TYPE_CHECKING:  # A type checker would take every name for an attribute.

    def __getattr__(name: str) -> object:
        """Raise ImportError for a helper of channels_redis 4."""
        return refuse(__name__, name)
