"""Dispatch the messages of a message key to channels and `receive` calls. Without I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import keys
from .._shared.clock import monotonic
from .._shared.delivery.mailboxes import Entry, Mailbox
from .._shared.history.store import HistoryEntry, id_of
from .._shared.messages.serializers import POSITION, DecodedMessage
from .inbox import AckTracker, Claim, Dispatcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._shared.delivery.mailboxes import Mailboxes
    from .._shared.history.follower import Followers
    from .._shared.messages.serializers import MessageDecoder
    from ..config import QueueSettings
    from .local_groups import LocalGroups


class Envelope(DecodedMessage):
    """A message with the channels that it is for."""

    __slots__ = ("group", "leave", "names", "position", "previous")

    def __init__(
        self, body: bytes, load: Callable[[bytes], dict[str, Any]], message: dict[str, Any]
    ) -> None:
        to = message.pop(keys.CHANNELS_FIELD, [])
        # Empty in a general channel's key, unless messages are encrypted.
        self.names: list[str]
        self.names = [to] if isinstance(to, str) else to
        if not isinstance(to, str | list) or not all(map(_is_name, self.names)):
            raise ValueError("it names no channel")
        # The group whose members it is for, if it names no channels.
        self.group: str | None = message.pop(keys.GROUP_FIELD, None)
        if self.group is not None and not _is_name(self.group):
            raise ValueError(f"it has {keys.GROUP_FIELD} that is no group")
        # The group that its channel leaves, and the time of the leave.
        self.leave: tuple[str, float] | None = None
        if keys.LEAVE_FIELD in message:
            self.leave = _split_leave(message.pop(keys.LEAVE_FIELD))
        # Those of a group message in the history of its group; empty if it keeps none.
        self.position = self.previous = ""
        if POSITION in message:
            self.position, self.previous = _split_positions(message)
        super().__init__(body, load, message)

    def _decode(self) -> dict[str, Any]:
        message = super()._decode()
        message.pop(keys.CHANNELS_FIELD, None)
        message.pop(keys.GROUP_FIELD, None)
        if self.position:
            message[POSITION] = self.position
        return message


class UnackedMessage(NamedTuple):
    """A message of a general channel, which stays claimed until a consumer has it."""

    decoded: Envelope
    acks: AckTracker
    claim: Claim
    # The `monotonic()` at which it expires.
    deadline: float

    def acknowledge(self) -> bool:
        """Acknowledge the message; return False if it has expired meanwhile."""
        self.acks.acknowledge(self.claim)
        return self.deadline > monotonic()

    def copy(self) -> dict[str, Any]:
        """Return the message as a dict of the caller's own."""
        return self.decoded.copy()


class ProcessDispatcher(Dispatcher):
    """Dispatch the messages of a process to its channels, and its members of groups.

    Args:
        address: The part of the channels' names up to and including the `!`.
        settings: The layer's options.
        mailboxes: The channels' mailboxes.
        local_groups: The members in this process.
        followers: The followers of the groups that keep a history, by virtual channel.
    """

    def __init__(
        self,
        address: str,
        settings: QueueSettings,
        mailboxes: Mailboxes,
        local_groups: LocalGroups,
        followers: Followers[str],
    ) -> None:
        self.channel = address
        self._settings = settings
        self._decoder: MessageDecoder[Envelope] = settings.make_decoder(Envelope)
        self._mailboxes = mailboxes
        self._local_groups = local_groups
        self.leaves = local_groups.leaves
        self._followers = followers

    def prefetch_count(self) -> int:
        """Return the largest capacity of the key: it has no other reader."""
        return self._settings.largest_key_capacity

    def is_unused(self) -> bool:
        """Return whether no channel of the address has a consumer or is a member of a group."""
        address = self.channel
        joined = self._local_groups.addresses()
        return not self._mailboxes.has_any(address) and address not in joined

    def dispatch(self, claim: Claim, acks: AckTracker, lifetime: float) -> None:
        """Put a message into the mailbox of each channel it is for."""
        acks.acknowledge(claim)
        decoded = _decode(self._decoder, claim.message, self.channel, self._settings)
        if decoded is None:
            return
        names = decoded.names
        if decoded.group is not None:
            names = [keys.virtual_channel(self.channel, decoded.group)]
        if decoded.leave:
            group, at = decoded.leave
            virtual = keys.virtual_channel(self.channel, group)
            for channel in names:
                self._local_groups.begin_leave(virtual, channel, at, after=0)
            return
        if decoded.position:
            names = self._follow(names, decoded, claim.message)
            if not names:
                return
        elif self._settings.history is not None and any(map(self._followers.find, names)):
            self._settings.faults.warning(
                "A message of %s has no position: %s",
                keys.group_of(names[0]),
                "its sender keeps no history",
            )
        # No mailbox is a virtual channel's.
        if len(names) > 1 or self._mailboxes.find(names[0]) is None:
            names = self._expand(names)
        if decoded.excluded:
            names = [name for name in names if name not in decoded.excluded]
        deadline = monotonic() + lifetime
        self._mailboxes.put(names, decoded, deadline, len(claim.message))

    def apply_leaves(self, until: float) -> None:
        """End the memberships whose leaves precede a time, unless they were renewed since.

        A member that is behind leaves later: what was sent before may be among what it has missed.
        """
        for virtual, channel, at in self._local_groups.due_leaves(self.channel, until):
            if not self._followers.is_behind(virtual, channel):
                self._local_groups.leave(virtual, channel, at)

    def _follow(self, names: list[str], decoded: Envelope, data: bytes) -> list[str]:
        """Pass a message on to the followers of its group; return the names without any."""
        entry = HistoryEntry(decoded.position, decoded.previous, data)
        entry.decoded = decoded
        others: list[str] = []
        members: set[str] = set()
        for name in names:
            follower = self._followers.find(name)
            if follower is None:
                others.append(name)
            else:
                members.update(self._local_groups.members(name))
                follower.on_message(entry)
        return [name for name in others if name not in members]

    def _expand(self, names: list[str]) -> list[str]:
        """Return the channels that the names stand for, each once."""
        channels: list[str] = []
        for name in names:
            if keys.is_virtual(name):
                members = self._local_groups.members(name)
                channels += members
                if not members:
                    self._local_groups.note_removed(name)
            else:
                channels.append(name)
        return channels if len(names) == 1 else list(dict.fromkeys(channels))


class WorkerDispatcher(Dispatcher):
    """Dispatch the messages of a general channel to the `receive` calls that wait for it.

    Messages stay claimed until a call has them. For a consumer that calls `receive` again at once a
    few are prefetched, to save a round trip for each; if it stops, they go back to other workers.

    Args:
        channel: The channel.
        settings: The layer's options.
    """

    # As many messages are lost if the process is killed, and wait while its event loop is blocked.
    MAX_PREFETCH = 5

    def __init__(self, channel: str, settings: QueueSettings) -> None:
        self.channel = channel
        self._settings = settings
        self._decoder: MessageDecoder[Envelope] = settings.make_decoder(Envelope)
        # The number of messages to prefetch.
        self._prefetch = 0
        self.abandon()

    def prefetch_count(self) -> int:
        """Return the number of waiting calls, and some more if they come back quickly."""
        waiting = self.mailbox.waiting
        return waiting + self._prefetch if waiting else 0

    def dispatch(self, claim: Claim, acks: AckTracker, lifetime: float) -> None:
        """Deliver a message to a waiting call, or keep it until calls stop coming."""
        decoded = _decode(self._decoder, claim.message, self.channel, self._settings)
        if decoded is None:
            acks.acknowledge(claim)
            return
        taken = UnackedMessage(decoded, acks, claim, monotonic() + lifetime)
        self.mailbox.put(Entry(math.inf, taken))

    def on_receive_resumed(self) -> None:
        """Prefetch more: a consumer has called `receive` again at once."""
        self._prefetch = min(2 * self._prefetch + 1, self.MAX_PREFETCH)

    def on_receive_stopped(self, acks: AckTracker) -> None:
        """Prefetch nothing, and requeue what one reader has taken and no call has received."""
        self._prefetch = 0
        for _ in range(self.mailbox.size):
            taken = self.take()
            if taken and taken.acks is acks:
                acks.requeue(taken.claim)
            elif taken:
                self.mailbox.put(Entry(math.inf, taken))

    def abandon(self) -> None:
        """Forget the calls that wait, and what was taken for them."""
        self.mailbox = Mailbox(None, None, self._settings.counters)

    def take(self) -> UnackedMessage | None:
        """Return the oldest message that no call has taken yet, if there is one."""
        taken = self.mailbox.take()
        return taken if isinstance(taken, UnackedMessage) else None

    def clear(self) -> None:
        """Drop the messages that no call has taken yet."""
        while (taken := self.take()) is not None:
            taken.acknowledge()


def _is_name(name: object) -> bool:
    """Return whether it is text that can be part of a command: JSON allows surrogates."""
    if not isinstance(name, str):
        return False
    try:
        return name.isascii() or bool(name.encode())
    except UnicodeEncodeError:
        return False


def _split_leave(leave: object) -> tuple[str, float]:
    """Return the group and the time in a leave."""
    group, _, at = str(leave).partition(" ")
    try:
        return group, float(at)
    except ValueError:
        raise ValueError(f"it has {keys.LEAVE_FIELD} that is no leave") from None


def _split_positions(message: dict[str, Any]) -> tuple[str, str]:
    """Return the position of a message and of the one before it; keep the first as its field."""
    position, _, previous = str(message[POSITION]).partition(" ")
    if id_of(position) is None:
        raise ValueError(f"it has {POSITION} that is no position")
    message[POSITION] = position
    return position, previous


def _decode(
    decoder: MessageDecoder[Envelope], data: bytes, channel: str, settings: QueueSettings
) -> Envelope | None:
    """Decode a message; if that fails, log and count it and return None."""
    try:
        decoded = decoder.decode(data)
        if "!" in channel and not decoded.names and decoded.group is None:
            raise ValueError("it names no channel")  # noqa: TRY301
        if decoded.names and "!" not in channel and channel not in decoded.names:
            raise ValueError("it is for another channel")  # noqa: TRY301
    except Exception as error:  # noqa: BLE001 - a user's serializer may raise anything
        settings.report_unreadable(channel, error)
        return None
    return decoded
