"""Track who is in a group, across all processes: people, not channels."""

from __future__ import annotations

from ._shared.presence import People, Presence

__all__ = ["People", "Presence"]
