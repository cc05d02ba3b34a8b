"""Decides which channels get what the server published, and what is told of an outage."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ._shared.mailbox import Mailboxes
    from .audience import Audience
    from .settings import Settings


class Item(Protocol):
    """What lies in a mailbox."""

    def open(self) -> dict[str, Any]:
        """Return it as a message, an object of its own."""


class Notice:
    """Tells a channel of an outage, or of its end. Never dropped, however full the mailbox."""

    __slots__ = ("_type",)

    def __init__(self, message_type: str) -> None:
        self._type = message_type

    def open(self) -> dict[str, Any]:
        """Return the message."""
        return {"type": self._type}


def is_notice(item: Item) -> bool:
    """Tell whether an item must not be dropped."""
    return isinstance(item, Notice)


class Delivery:
    """Puts into the mailboxes of one event loop's channels what one host sends.

    Args:
        settings: The layer's options.
        audience: Which channels hear what.
        mailboxes: The channels' mailboxes.
    """

    def __init__(self, settings: Settings, audience: Audience, mailboxes: Mailboxes[Item]) -> None:
        self._settings = settings
        self._audience = audience
        self._mailboxes = mailboxes
        # The channels that know of the outage.
        self._told: list[str] = []

    def message(self, topic: bytes, data: bytes) -> None:
        """Put a message into the mailbox of each channel that hears the topic."""
        hearers = self._audience.hearers(topic)
        if not hearers:
            return  # the last one left as it was on its way
        try:
            letter = self._settings.reader.read(data)
        except Exception as error:  # noqa: BLE001 - whatever the serializer of the user raises
            self._settings.counters.undecodable += 1
            self._settings.faults.warning(
                "Dropped a message of %s that can't be read: %s", topic.decode(), error
            )
            return
        with self._audience.lock:
            self._mailboxes.put(hearers, letter, math.inf)

    def disconnected(self) -> None:
        """Tell all channels that the host is lost."""
        self._told = self._audience.channels()
        self._tell(self._settings.on_disconnect)

    def reconnected(self) -> None:
        """Tell the channels that know of the outage that it has ended."""
        self._tell(self._settings.on_reconnect)
        self._told = []

    def _tell(self, message_type: str | None) -> None:
        if message_type is not None:
            with self._audience.lock:
                channels = self._audience.still_open(self._told)
                self._mailboxes.put(channels, Notice(message_type), math.inf)
