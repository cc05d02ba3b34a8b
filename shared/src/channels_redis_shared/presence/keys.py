"""The names of presence's keys in Redis."""

from __future__ import annotations


class PresenceKeys:
    """The keys of one layer. In a Redis Cluster, all of a group are in one slot.

    Args:
        head: Begins the name of each key.
    """

    def __init__(self, head: str) -> None:
        self._head = head
        # Which process is alive until when. In one slot with `groups`.
        self.leases = f"{head}leases{{presence}}"

    def groups(self, process: str) -> str:
        """Return the key of the groups in which a process has people."""
        return f"{self._head}groups.{process}{{presence}}"

    def people(self, group: str) -> str:
        """Return the key of a group's people, each with the number of processes."""
        return f"{self._head}present{{{group}}}"

    def local_people(self, group: str, process: str) -> str:
        """Return the key of the people of a process in a group, with their metas."""
        return f"{self._head}present.{process}{{{group}}}"

    def processes(self, group: str) -> str:
        """Return the key of the processes that have people in a group."""
        return f"{self._head}processes{{{group}}}"

    def canary(self, process: str, group: str) -> str:
        """Return the key that tells a process whether a Cluster's node has lost a group's data."""
        return f"{self._head}canary.{process}{{{group}}}"
