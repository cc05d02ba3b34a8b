"""Decides which channels get what the server published, and what is told of an outage."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._shared.delivery.mailboxes import Notice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._shared.delivery.mailboxes import Mailboxes
    from ..config import PubSubSettings
    from .hub import Hub


@dataclass(eq=False)
class _Outage:
    """The topics of a lost connection, and the channels that know of the loss."""

    # Not heard again yet.
    topics: set[bytes] = field(default_factory=set)
    told: set[str] = field(default_factory=set)


class TopicDispatcher:
    """Puts into the mailboxes of one event loop's channels what one host sends.

    Args:
        settings: The layer's options.
        audience: Which channels hear what.
        mailboxes: The channels' mailboxes.
    """

    def __init__(self, settings: PubSubSettings, hub: Hub, mailboxes: Mailboxes) -> None:
        self._settings = settings
        self._audience = hub
        self._mailboxes = mailboxes
        # The outages that go on, by what stands for the connection.
        self._outages: dict[object, _Outage] = {}

    def message(self, topic: bytes, data: bytes) -> None:
        """Put a message into the mailbox of each channel that hears the topic."""
        hearers = self._audience.hearers(topic)
        if not hearers:
            return  # the last one left as it was on its way
        try:
            decoded = self._settings.decoder.decode(data)
        except Exception as error:  # noqa: BLE001 - whatever the serializer of the user raises
            self._settings.counters.undecodable += 1
            self._settings.faults.warning(
                "Dropped a message of %s that can't be read: %s", topic.decode(), error
            )
            return
        with self._audience.lock:
            if decoded.excluded:
                hearers = [channel for channel in hearers if channel not in decoded.excluded]
            deadline = time.monotonic() + self._settings.expiry
            self._mailboxes.put(hearers, decoded, deadline, len(data))

    def lost(self, connection: object, topics: Iterable[bytes]) -> None:
        """Tell the channels that hear these topics of an outage, unless they know of it already.

        Args:
            connection: What stands for the connection. What it loses once more before all of it is
                heard again belongs to the same outage.
            topics: The topics that were heard there.
        """
        with self._audience.lock:
            lost = {topic: set(self._audience.hearers(topic)) for topic in topics}
        lost = {topic: channels for topic, channels in lost.items() if channels}
        if lost:
            outage = self._outages.setdefault(connection, _Outage())
            news = set().union(*lost.values()) - outage.told
            outage.topics |= lost.keys()
            outage.told |= news
            self._tell(self._settings.on_disconnect, news)

    def heard(self, topic: bytes) -> None:
        """Note that a topic is heard again; tell the channels of each outage that this ends."""
        for connection, outage in list(self._outages.items()):
            outage.topics.discard(topic)
            if not outage.topics:
                del self._outages[connection]
                self._tell(self._settings.on_reconnect, outage.told)

    def reconcile(self, topics: Iterable[bytes]) -> None:
        """Wait for the return of none of these topics that no channel hears any more."""
        if self._outages:
            for topic in topics:
                if not self._audience.is_heard(topic):
                    self.heard(topic)

    def _tell(self, message_type: str | None, told: Iterable[str]) -> None:
        if message_type is not None:
            with self._audience.lock:
                channels = self._audience.still_open(told)
                self._mailboxes.put(channels, Notice(message_type))
