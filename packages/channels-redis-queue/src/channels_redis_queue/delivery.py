"""Decides which channels get what a receiver took from its message key. Does no I/O."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol

from . import keys
from ._shared.mailbox import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._shared.mailbox import Mailbox, Mailboxes
    from .claims import Claim, Ledger
    from .letters import Letter
    from .memberships import Memberships
    from .settings import Settings


class Claimed:
    """A letter that stays claimed until a consumer has it."""

    __slots__ = ("_claim", "_ledger", "_letter")

    def __init__(self, letter: Letter, ledger: Ledger, claim: Claim) -> None:
        self._letter = letter
        self._ledger = ledger
        self._claim = claim

    def open(self) -> dict[str, Any]:
        """Hand the message over, and acknowledge it."""
        self._ledger.acknowledge(self._claim)
        return self._letter.open()

    def give_back(self) -> None:
        """Let another reader have the message."""
        self._ledger.give_back(self._claim)


class Delivery(Protocol):
    """What a receiver asks about its message key."""

    channel: str

    def wanted(self) -> int:
        """Return how many messages to take now."""

    def message(self, claim: Claim, ledger: Ledger, lifetime: float) -> None:
        """Hand a message out; it lives `lifetime` seconds more."""

    def leave(self, leave: bytes) -> None:
        """Carry out what a process wrote about a channel that leaves a group."""

    def came_back(self) -> None:
        """Note that somebody waits again, at once after there was nobody."""

    def stayed_away(self) -> None:
        """Note that nobody waits any more."""


class ToProcess:
    """Delivers what is in a process's message key: to its channels, and its members of groups.

    Args:
        address: The part of the channels' names up to and including the `!`.
        settings: The layer's options.
        mailboxes: The channels' mailboxes.
        memberships: The local members of groups.
        deserted: Called with a virtual channel when nobody is behind it any more.
    """

    def __init__(
        self,
        address: str,
        settings: Settings,
        mailboxes: Mailboxes,
        memberships: Memberships,
        deserted: Callable[[str], object],
    ) -> None:
        self.channel = address
        self._batch = settings.largest_capacity
        self._settings = settings
        self._mailboxes = mailboxes
        self._memberships = memberships
        self._deserted = deserted

    def wanted(self) -> int:
        """Return the size of a batch: this key has no other reader."""
        return self._batch

    def message(self, claim: Claim, ledger: Ledger, lifetime: float) -> None:
        """Put a message into the mailbox of each channel it is for."""
        ledger.acknowledge(claim)
        letter = read_letter(self._settings, claim.message, self.channel)
        if letter is None:
            return
        names = letter.names
        if len(names) > 1 or keys.is_virtual(names[0]):
            names = self._spread(names)
        self._mailboxes.put(names, letter, time.monotonic() + lifetime, len(claim.message))

    def leave(self, leave: bytes) -> None:
        """End a membership, unless it was renewed after the leave."""
        try:
            group, channel, at = leave.decode().split("\0")
            behind = self.channel if self._settings.local_groups else channel
            virtual = keys.virtual_channel(behind, group)
            self._memberships.leave(virtual, channel, float(at))
        except ValueError:
            self._settings.faults.warning(
                "Dropped a leave of %s that can't be read: %s", self.channel, leave
            )
            return
        if not self._memberships.members(virtual):
            self._deserted(virtual)

    def came_back(self) -> None:
        """Do nothing: all messages are for this process, whoever waits."""

    def stayed_away(self) -> None:
        """Do nothing, likewise."""

    def _spread(self, names: list[str]) -> list[str]:
        """Return the channels behind the names; one that is named twice gets one copy."""
        channels: dict[str, None] = {}
        for name in names:
            if keys.is_virtual(name):
                members = self._memberships.members(name)
                channels.update(dict.fromkeys(members))
                if not members:
                    self._deserted(name)
            else:
                channels[name] = None
        return list(channels)


class ToWorkers:
    """Delivers what is in a general channel's key: to the `receive` calls that wait for it.

    Messages stay claimed until one has them. One who comes back at once gets some taken ahead, so
    as not to pay a round trip for each; if it does not come, they go back to the other workers.
    """

    # How many to take ahead at the most: as many are lost if the process is killed just then.
    MOST_AHEAD = 7

    def __init__(self, channel: str, settings: Settings, mailboxes: Mailboxes) -> None:
        self.channel = channel
        self._settings = settings
        self._mailboxes = mailboxes
        self._ahead = 0
        # How many messages the mailbox may hold: what was wanted last.
        self._room = 0

    def wanted(self) -> int:
        """Return how many receivers wait, and some more if they are quick."""
        waiting = self._mailboxes.waiting(self.channel)
        self._room = waiting + self._ahead if waiting else 0
        return self._room

    def message(self, claim: Claim, ledger: Ledger, lifetime: float) -> None:
        """Put a message into the channel's mailbox if somebody is to get it soon."""
        box = self._mailboxes.open(self.channel)
        if box.size >= self._room:
            ledger.give_back(claim)
            return
        letter = read_letter(self._settings, claim.message, self.channel)
        if letter is None:
            ledger.acknowledge(claim)
            return
        claimed = Claimed(letter, ledger, claim)
        # Never too many: what a full mailbox would drop has a consumer already.
        box.put(Entry(time.monotonic() + lifetime, claimed), asyncio.get_running_loop())

    def leave(self, leave: bytes) -> None:
        """Do nothing: a general channel leaves a group by its plain name."""

    def came_back(self) -> None:
        """Note that somebody waits again at once."""
        self._ahead = min(2 * self._ahead + 1, self.MOST_AHEAD)

    def stayed_away(self) -> None:
        """Note that nobody did: what was taken ahead is for others."""
        self._ahead = 0
        give_back(self._mailboxes.open(self.channel))


def give_back(box: Mailbox) -> None:
    """Let other readers have what nobody waits for in the mailbox of a general channel."""
    for parcel in box.surplus():
        if isinstance(parcel, Claimed):
            parcel.give_back()


def read_letter(settings: Settings, data: bytes, channel: str) -> Letter | None:
    """Return the letter in these bytes; log, count and return None if there is none."""
    try:
        letter = settings.reader.read(data)
        if "!" in channel and not letter.names:
            raise ValueError("it names no channel")  # noqa: TRY301
        if letter.names and "!" not in channel and channel not in letter.names:
            raise ValueError("it is for another channel")  # noqa: TRY301
    except Exception as error:  # noqa: BLE001 - whatever the serializer of the user raises
        settings.counters.undecodable += 1
        settings.faults.warning("Dropped a message of %s that can't be read: %s", channel, error)
        return None
    return letter
