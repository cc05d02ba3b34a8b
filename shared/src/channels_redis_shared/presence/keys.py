"""The names of presence's keys in Redis."""

from __future__ import annotations


class PresenceKeys:
    """The keys of one layer.

    Args:
        head: Begins the name of each key.
    """

    def __init__(self, head: str) -> None:
        self._head = head
        # The latest heartbeat of each process. In one slot of a Cluster with `groups`.
        self.heartbeats = f"{head}heartbeats{{presence}}"

    def groups(self, process: str) -> str:
        """Return the key of the groups in which a process has people."""
        return f"{self._head}groups.{process}{{presence}}"

    def people(self, group: str) -> str:
        """Return the key of a group's people, each with the metas from each process."""
        return f"{self._head}people{{{group}}}"

    def canary(self, process: str, group: str) -> str:
        """Return the key by which a process sees whether the server of a group has lost data."""
        return f"{self._head}canary.{process}{{{group}}}"
