"""Decide which channels get what the server publishes, and which get notices of an outage."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from .._shared.clock import monotonic
from .._shared.delivery.mailboxes import Notice
from .._shared.history.store import MARK, HistoryEntry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .._shared.delivery.mailboxes import Mailboxes
    from .._shared.history.follower import Followers
    from ..config import PubSubSettings


class Hub:
    """The channels of a broker, and the topics of which they are members.

    A topic is a Redis channel: that of a channel itself, or of a group.
    """

    def __init__(self) -> None:
        # The members of each topic. One that is still joining has the tokens of `begin_join`.
        self._members: dict[bytes, dict[str, set[object] | None]] = {}
        self._topics: dict[str, set[bytes]] = {}
        # Returns the members of a topic, or the second argument.
        self.find_members = self._members.get

    def __contains__(self, channel: object) -> bool:
        """Return whether the channel is open."""
        return channel in self._topics

    def open(self, channel: str) -> None:
        """Make a channel a member of its own topic."""
        topic = channel.encode()
        self._topics.setdefault(channel, set()).add(topic)
        self._members.setdefault(topic, {})[channel] = None

    def close(self, channel: str) -> set[bytes]:
        """Remove a channel; return its topics."""
        topics = self._topics.pop(channel, set())
        for topic in topics:
            self._remove(topic, channel)
        return topics

    def begin_join(self, topic: bytes, channel: str) -> object:
        """Make an open channel a member until `cancel_join`; return a token for this call."""
        token = object()
        self._topics[channel].add(topic)
        tokens = self._members.setdefault(topic, {}).setdefault(channel, {token})
        if tokens is not None:
            tokens.add(token)
        return token

    def confirm_join(self, topic: bytes, channel: str, token: object) -> None:
        """Make the membership of `begin_join` permanent, unless the channel has left meanwhile."""
        if token in (self._members.get(topic, {}).get(channel) or ()):
            self._members[topic][channel] = None

    def cancel_join(self, topic: bytes, channel: str, token: object) -> None:
        """Undo `begin_join`, but not the membership of another call."""
        tokens = self._members.get(topic, {}).get(channel)
        if tokens is not None:
            tokens.discard(token)
            if not tokens:
                self.leave(topic, channel)

    def cancel_joins(self) -> None:
        """Undo each `begin_join` that was not confirmed."""
        for topic, members in list(self._members.items()):
            for channel, tokens in list(members.items()):
                if tokens is not None:
                    self.leave(topic, channel)

    def leave(self, topic: bytes, channel: str) -> None:
        """End a membership."""
        if channel in self._topics:
            self._topics[channel].discard(topic)
            self._remove(topic, channel)

    def leave_groups(self) -> set[bytes]:
        """End all memberships but in the channels' own topics; return the other topics."""
        groups = self.groups()
        for topic in groups:
            del self._members[topic]
        self._topics = {channel: {channel.encode()} for channel in self._topics}
        return groups

    def members(self, topic: bytes) -> Collection[str]:
        """Return the members of a topic."""
        return self._members.get(topic, ())

    def topics_of(self, channel: str) -> Collection[bytes]:
        """Return the topics of a channel."""
        return self._topics.get(channel, ())

    def concerned(self, topics: Collection[bytes]) -> tuple[set[bytes], set[str]]:
        """Return those of the topics that have members, and all of their members."""
        # There may be tens of thousands, which mostly are all that there are.
        used = self._members.keys() & topics
        if len(used) == len(self._members):
            return used, set(self._topics)
        return used, set().union(*map(self._members.__getitem__, used))

    def channels(self) -> list[str]:
        """Return all channels."""
        return list(self._topics)

    def topics(self) -> list[bytes]:
        """Return all topics that have members."""
        return list(self._members)

    def groups(self) -> set[bytes]:
        """Return the topics of groups that have members; any thread may call this."""
        return set(self.topics()).difference(channel.encode() for channel in self.channels())

    def _remove(self, topic: bytes, channel: str) -> None:
        members = self._members.get(topic)
        if members is not None:
            members.pop(channel, None)
            if not members:
                del self._members[topic]


class TopicDispatcher:
    """Put what the hosts publish into the mailboxes of a broker's channels.

    Args:
        settings: The layer's options.
        hub: The members of the topics.
        mailboxes: The channels' mailboxes.
        followers: The followers of the groups that keep a history.
    """

    def __init__(
        self,
        settings: PubSubSettings,
        hub: Hub,
        mailboxes: Mailboxes,
        followers: Followers[bytes],
    ) -> None:
        self._settings = settings
        self._hub = hub
        self._mailboxes = mailboxes
        self._followers = followers
        # `Hub.members` without a call of its own for each message.
        self._members_of = hub.find_members
        self._keeps_history = settings.history is not None
        # The topics that were lost and are not restored, and the channels notified of that.
        self._lost: set[bytes] = set()
        self._notified: set[str] = set()
        # The topics that were restored in this turn of the loop.
        self._restored: list[bytes] = []

    def dispatch(self, topic: bytes, data: bytes) -> None:
        """Put a message into the mailboxes of the topic's members."""
        members: Collection[str] = self._members_of(topic, ())
        if not members:
            return  # the last one left while the message was on its way
        if self._keeps_history and self._followers.find(topic) is not None:
            if data[:1] == MARK:
                self._dispatch_entry(topic, data)
                return
            self._settings.faults.warning(
                "A message of %s has no position: %s", topic.decode(), "its sender keeps no history"
            )
        try:
            message = self._settings.decoder.decode(data)
        except Exception as error:  # noqa: BLE001 - whatever the serializer of the user raises
            if data[:1] == MARK:
                # This process has other settings than the sender.
                self._dispatch_entry(topic, data)
                return
            self._settings.report_unreadable(topic.decode(), error)
            return
        if message.excluded:
            members = [channel for channel in members if channel not in message.excluded]
        deadline = monotonic() + self._settings.expiry
        self._mailboxes.put(members, message, deadline, len(data))

    def on_lost(self, topics: Collection[bytes]) -> None:
        """Notify the members of topics that are no longer subscribed to, unless they know.

        A channel that was notified gets another notice once all of its topics are restored.
        """
        self._notify_members()  # of what was restored before, in a loop that may have ended
        lost, members = self._hub.concerned(topics)
        if self._lost:
            self._lost |= lost
        else:
            self._lost = lost  # perhaps many: no copy
        unaware = members - self._notified
        self._notified |= unaware
        self._notify(self._settings.on_disconnect, unaware)

    def on_subscribed(self, topic: bytes) -> None:
        """Mark a topic as restored, once its members have what they missed, if it is kept."""
        follower = self._followers.find(topic)
        if follower is None:
            self._on_restored(topic)
        else:
            follower.fall_behind(partial(self._on_restored, topic))

    def forget(self, topics: Iterable[bytes]) -> None:
        """Stop waiting for topics without members to be restored."""
        for topic in topics:
            self._followers.forget(topic)
            self._lost.discard(topic)

    def notify_restored(self, channels: Iterable[str]) -> None:
        """Notify those of the channels that know of a loss, and have all their topics again."""
        topics_of, is_lost = self._hub.topics_of, self._lost.__contains__
        notified = self._notified.intersection(channels)
        # Not `isdisjoint`, which may look through the table of a set that was large.
        restored = {channel for channel in notified if not any(map(is_lost, topics_of(channel)))}
        self._notified -= restored
        self._notify(self._settings.on_reconnect, restored)

    def _dispatch_entry(self, topic: bytes, data: bytes) -> None:
        """Pass on a message of a group that keeps a history."""
        try:
            entry = HistoryEntry.from_wire(data)
        except ValueError as error:
            self._settings.report_unreadable(topic.decode(), error)
            return
        self._followers.on_message(topic, entry)

    def _on_restored(self, topic: bytes) -> None:
        if topic in self._lost:
            self._lost.remove(topic)
            if not self._restored:
                # One notice for all: thousands would make Python's garbage collector look at all
                # objects of the process.
                asyncio.get_running_loop().call_soon(self._notify_members)
            self._restored.append(topic)

    def _notify_members(self) -> None:
        topics, self._restored = self._restored, []
        self.notify_restored(set().union(*map(self._hub.members, topics)))

    def _notify(self, message_type: str | None, channels: Collection[str]) -> None:
        if message_type is not None and channels:
            still_open = [channel for channel in channels if channel in self._hub]
            self._mailboxes.put(still_open, Notice(message_type))
