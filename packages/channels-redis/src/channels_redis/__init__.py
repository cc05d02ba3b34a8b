"""Both Redis channel layers for Django Channels, under the import strings of `channels_redis`."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "5.0.0"
