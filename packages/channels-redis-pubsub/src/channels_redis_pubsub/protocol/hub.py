"""Decides who hears what: the channels of one event loop, and the groups that they are in."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class Hub:
    """Which channels hear which topics. A topic is a Redis channel: a channel's own or a group's.

    Threads may share it.
    """

    def __init__(self) -> None:
        # Held by who puts into the mailboxes of hearers, so that none is closed meanwhile.
        self.lock = threading.RLock()
        # The channels that hear a topic. While one joins: the calls that wait for the server.
        self._hearers: dict[bytes, dict[str, set[object] | None]] = {}
        self._topics: dict[str, set[bytes]] = {}

    def open(self, channel: str, topics: Iterable[bytes] = ()) -> None:
        """Let a channel hear its own topic, and others."""
        with self.lock:
            heard = self._topics.setdefault(channel, set())
            for topic in (channel.encode(), *topics):
                heard.add(topic)
                self._hearers.setdefault(topic, {})[channel] = None

    def close(self, channel: str) -> set[bytes]:
        """Forget a channel; return what it heard."""
        with self.lock:
            heard = self._topics.pop(channel, set())
            for topic in heard:
                self._remove(topic, channel)
            return heard

    def join(self, topic: bytes, channel: str) -> object:
        """Let a channel hear a group, as yet until `join_failed`; return what stands for the call.

        Does nothing for a channel that is not open.
        """
        call = object()
        with self.lock:
            if channel in self._topics:
                self._topics[channel].add(topic)
                joining = self._hearers.setdefault(topic, {}).setdefault(channel, {call})
                if joining is not None:
                    joining.add(call)
        return call

    def joined(self, topic: bytes, channel: str, call: object) -> None:
        """Note that the server has confirmed what `join` began, unless the channel has left."""
        with self.lock:
            if call in (self._hearers.get(topic, {}).get(channel) or ()):
                self._hearers[topic][channel] = None

    def join_failed(self, topic: bytes, channel: str, call: object) -> None:
        """Undo `join`; one who is a member by another call remains one."""
        with self.lock:
            joining = self._hearers.get(topic, {}).get(channel)
            if joining is not None:
                joining.discard(call)
                if not joining:
                    self.leave(topic, channel)

    def leave(self, topic: bytes, channel: str) -> None:
        """Let a channel no longer hear a group."""
        with self.lock:
            if channel in self._topics:
                self._topics[channel].discard(topic)
                self._remove(topic, channel)

    def leave_groups(self) -> list[bytes]:
        """Let each channel hear its own topic alone; return all other topics."""
        with self.lock:
            own = {channel.encode(): channel for channel in self._topics}
            groups = [topic for topic in self._hearers if topic not in own]
            for topic in groups:
                del self._hearers[topic]
            self._topics = {channel: {topic} for topic, channel in own.items()}
            return groups

    def is_heard(self, topic: bytes) -> bool:
        """Tell whether a channel hears the topic."""
        return topic in self._hearers

    def channels(self) -> list[str]:
        """Return all channels."""
        with self.lock:
            return list(self._topics)

    def topics(self) -> list[bytes]:
        """Return all topics that are heard."""
        with self.lock:
            return list(self._hearers)

    def groups(self) -> set[bytes]:
        """Return the topics that are heard and are no channel's own."""
        with self.lock:
            own = {channel.encode() for channel in self._topics}
            return self._hearers.keys() - own

    def topics_of(self, channel: str) -> set[bytes]:
        """Return what a channel hears."""
        with self.lock:
            return set(self._topics.get(channel, ()))

    def hearers(self, topic: bytes) -> Collection[str]:
        """Return the channels that hear a topic. They change as soon as `lock` is released."""
        return self._hearers.get(topic, ())

    def still_open(self, channels: Iterable[str]) -> list[str]:
        """Return those of the channels that are open, while `lock` is held."""
        return [channel for channel in channels if channel in self._topics]

    def _remove(self, topic: bytes, channel: str) -> None:
        hearers = self._hearers.get(topic)
        if hearers is not None:
            hearers.pop(channel, None)
            if not hearers:
                del self._hearers[topic]
