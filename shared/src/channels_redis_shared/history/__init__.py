"""Keep the latest messages of groups, so that none is lost silently.

A group with a history has a stream in Redis. Each message names its predecessor, so a process sees
when one is missing, and reads it from there. A channel that joins can ask for what it has missed.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Joined(NamedTuple):
    """The place of a new member in the history of its group.

    Attributes:
        position: The position after which the channel gets all messages: what to pass as `since` if
            none comes. Empty if it gets the first message of the group.
        recovered: False if `since` was given and messages after it are missing.
    """

    position: str
    recovered: bool


class History(NamedTuple):
    """A part of a group's history.

    Attributes:
        messages: The messages, oldest first, each with its position as `__asgi_position__`.
        position: The position to pass as `since` next time.
        recovered: False if `since` was given and messages after it are missing.
    """

    messages: list[dict[str, Any]]
    position: str
    recovered: bool
