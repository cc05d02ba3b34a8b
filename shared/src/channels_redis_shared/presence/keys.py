"""The names of presence's keys in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..transport.commands import CommandClient

# Parts that a Redis Cluster has, each in one slot: a script may use all keys of a part together.
PARTS = 16


def part_of(group: str, commands: CommandClient) -> int:
    """Return the part that has the people of a group. Only a Cluster has more than one."""
    return (commands.slot(group) or 0) % PARTS


class PresenceKeys:
    """The keys of one part of a layer's presence.

    Args:
        head: Begins the name of each key.
        part: The part.
    """

    def __init__(self, head: str, part: int = 0) -> None:
        self._head = head
        self._tag = f"{{presence{part}}}"
        # The latest heartbeat of each process that has people.
        self.heartbeats = f"{head}heartbeats{self._tag}"
        # The groups that have people.
        self.groups = f"{head}groups{self._tag}"

    def people(self, group: str) -> str:
        """Return the key of a group's people, each with the metas from each process."""
        return f"{self._head}people.{group}{self._tag}"
