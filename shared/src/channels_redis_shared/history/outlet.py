"""Put the messages of a group with a history into the mailboxes of its members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..clock import monotonic
from ..delivery.mailboxes import Notice
from ..messages.serializers import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractContextManager

    from ..delivery.mailboxes import Mailboxes
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
    """The members that one group has in a process, or in one event loop.

    Args:
        group: The group.
        members: Returns its members.
        mailboxes: The mailboxes of the channels.
        lock: Held while messages are put for members, so that none of them is closed then.
        settings: The layer's options.
    """

    def __init__(
        self,
        group: str,
        members: Callable[[], Collection[str]],
        mailboxes: Mailboxes,
        lock: AbstractContextManager[Any],
        settings: HistorySettings,
    ) -> None:
        self._group = group
        self._members = members
        self._mailboxes = mailboxes
        self._lock = lock
        self._settings = settings

    def deliver(self, entry: HistoryEntry, without: Collection[str]) -> None:
        """Put a message into the mailbox of each member, `without` some."""
        self._put(entry, without=without)

    def replay(self, entries: Sequence[HistoryEntry], channel: str) -> None:
        """Put messages into the mailbox of one member."""
        # Once for all messages: thousands may join at the same time.
        if channel in self._members():
            for entry in entries:
                self._put(entry, (channel,))

    def notify_gap(self, position: str) -> None:
        """Tell all members that messages before a position may be missing."""
        self._settings.faults.warning(
            "Messages of the group %s may be missing: %s",
            self._group,
            "its history no longer has them all",
        )
        on_gap = self._settings.on_gap
        if on_gap is not None:
            notice = GapNotice(on_gap, self._group, position)
            with self._lock:
                self._mailboxes.put(list(self._members()), notice)

    def _put(
        self,
        entry: HistoryEntry,
        to: Collection[str] | None = None,
        without: Collection[str] = (),
    ) -> None:
        """Put a message into the mailboxes of members, by default of all.

        Neither `without` nor what the message excludes gets it.
        """
        message = entry.decoded or self._settings.decode(self._group, entry)
        if message is None:
            return
        with self._lock:
            excluded = {*message.excluded, *without}
            members = self._members() if to is None else to
            channels = [one for one in members if one not in excluded]
            if channels:
                deadline = monotonic() + self._settings.expiry
                self._mailboxes.put(channels, message, deadline, len(entry.data))
