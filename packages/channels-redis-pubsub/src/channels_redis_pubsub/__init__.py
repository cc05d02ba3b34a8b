"""A channel layer for Django Channels on Redis Pub/Sub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .layer import RedisPubSubChannelLayer

__all__ = ["RedisPubSubChannelLayer", "__shared__", "__version__"]

__version__ = "0.9.0"
# git's id of the folder of the vendored module, which says what a bug report is about.
__shared__: str

if not TYPE_CHECKING:  # A type checker would take every misspelt name for an attribute.

    def __getattr__(name: str) -> str:
        """Work out `__shared__` from the files when it is asked for, not at each import."""
        if name == "__shared__":
            from ._shared.origin import tree_id  # noqa: PLC0415 - rarely needed

            return tree_id(f"{__name__}._shared")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
