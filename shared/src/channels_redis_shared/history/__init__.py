"""Keep the latest messages of groups, so that none is lost silently.

A group with a history has a stream in Redis. Each message names its predecessor, so a process sees
when one is missing, and reads it from there. A channel that joins can ask for what it has missed.
"""

from __future__ import annotations

from .results import History, Joined

__all__ = ["History", "Joined"]
