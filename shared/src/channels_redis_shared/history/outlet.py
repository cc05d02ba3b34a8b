"""Put the messages of a group with a history into the mailboxes of its members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..clock import monotonic
from ..delivery.mailboxes import Notice
from ..messages.serializers import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from .backlog import Backlog, Wait
    from .positions import HistoryEntry
    from .settings import HistorySettings


class GapNotice(Notice):
    """The notice that messages of a group may be missing."""

    __slots__ = ("_group", "_position")

    def __init__(self, message_type: str, group: str, position: str) -> None:
        super().__init__(message_type)
        self._group = group
        self._position = position

    def copy(self) -> dict[str, Any]:
        """Return the message as a dict of the caller's own."""
        return {
            "type": self.type,
            "group": self._group,
            "recovered": False,
            POSITION: self._position,
        }


class GroupOutlet:
    """The mailboxes of the members that a group has in one broker.

    Args:
        group: The group.
        members: Returns its members.
        backlog: Puts messages into mailboxes.
        settings: The layer's options.
    """

    def __init__(
        self,
        group: str,
        members: Callable[[], Collection[str]],
        backlog: Backlog,
        settings: HistorySettings,
    ) -> None:
        self._group = group
        self._members = members
        self._backlog = backlog
        self._settings = settings

    def members(self, without: Collection[str] = ()) -> Collection[str]:
        """Return the members, without some."""
        members = self._members()
        return [one for one in members if one not in without] if without else members

    def readable(self, entries: Sequence[HistoryEntry]) -> Sequence[HistoryEntry]:
        """Return the messages that can be read, and warn of the others."""
        decode = self._settings.decode
        return [entry for entry in entries if decode(self._group, entry) is not None]

    def put(
        self,
        entries: Sequence[HistoryEntry],
        members: Collection[str],
        awaited: Mapping[str, Wait] | None = None,
    ) -> None:
        """Put readable messages into the mailboxes of members, except those that they exclude."""
        deadline = monotonic() + self._settings.expiry
        for entry in entries:
            message = entry.decoded
            channels = members
            if message.excluded:
                channels = [one for one in members if one not in message.excluded]
            if channels:
                self._backlog.put(channels, message, deadline, len(entry.data), awaited)

    def notify_gap(
        self,
        position: str,
        members: Collection[str],
        awaited: Mapping[str, Wait] | None = None,
    ) -> None:
        """Tell members that messages before a position may be missing."""
        if self._settings.on_gap is not None:
            notice = GapNotice(self._settings.on_gap, self._group, position)
            self._backlog.put(members, notice, awaited=awaited)

    def report_gap(self, reason: str) -> None:
        """Warn that messages may be missing."""
        self._settings.faults.warning(
            "Messages of the group %s may be missing: %s", self._group, reason
        )

    def report_failure(self, error: Exception) -> None:
        """Warn that the history can't be read."""
        self._settings.faults.warning("The history of %s can't be read: %s", self._group, error)
