"""The base class of both channel layers."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from channels import exceptions
from channels.layers import BaseChannelLayer

from .config import options
from .config.hosts import parse_hosts
from .history import History
from .history.follower import readable
from .history.rules import EXAMPLE, HistoryRules
from .history.store import HistoryStore, Question
from .messages.serializers import MessageDecoder, encode
from .ops.logs import shown
from .ops.statistics import Dropped, Statistics
from .transport.cluster import connector_to

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Mapping

    from .brokers import ProcessLocal
    from .delivery.consumers import ConsumerTracker
    from .history.rules import Limits
    from .history.settings import HistorySettings
    from .messages.serializers import Decoded
    from .transport.commands import Shards

# Methods that channels_redis 4 called, so that subclasses overrode them.
_FORMER_HOOKS = ("connection", "create_pool", "consistent_hash", "receive_single")


class ForeignChannelError(RuntimeError, AssertionError):
    """Raised for a channel of another process; also an AssertionError, as in channels_redis 4.

    Args:
        channel: The channel's name.
    """

    def __init__(self, channel: str) -> None:
        super().__init__(
            f"{channel!r} belongs to another process or layer: receive on a name that this "
            "layer's new_channel() returned in this process"
        )


class BaseRedisLayer(BaseChannelLayer):  # type: ignore[misc]  # Channels has no type hints
    """Options, serialization and statistics, which both layers have in common.

    Args:
        **rest: The options of both layers, which their docstrings describe.
    """

    extensions: tuple[str, ...] = ("groups", "flush")
    # So that callers can catch them without an import. The Pub/Sub layer never raises the first.
    ChannelFull = exceptions.ChannelFull
    MessageTooLarge = exceptions.MessageTooLarge
    channel_name_regex = options.CHANNEL_NAME
    group_name_regex = options.GROUP_NAME

    # What the layer has in each process.
    _brokers: ProcessLocal[Any]
    # Follows the prefix in the names of keys. Layers of both kinds may share a prefix.
    _key_mark: str
    # Set by each layer, as they encrypt differently.
    _serializer: Any

    def __init__(  # noqa: PLR0913 - options
        self,
        *,
        hosts: Iterable[Any] | None,
        prefix: str,
        expiry: int,
        capacity: int | None,
        channel_capacity: Mapping[str | re.Pattern[str], int] | None,
        channel_expiry: int,
        mailbox_bytes: int,
        on_overflow: str | None,
        history: Mapping[str | re.Pattern[str], Mapping[str, int]] | None,
        on_gap: str | None,
    ) -> None:
        for name in _FORMER_HOOKS:
            if hasattr(type(self), name):
                raise TypeError(
                    f"{type(self).__name__} overrides {name!r}, which only channels_redis 4 calls: "
                    "remove it, and write servers, a connection_class or a credential_provider in "
                    "hosts"
                )
        options.require_prefix(prefix)
        if capacity is not None:
            capacity = options.checked_int("capacity", capacity)
        options.require_channel_capacity(channel_capacity)
        options.require_message_type("on_overflow", on_overflow)
        options.require_message_type("on_gap", on_gap)
        super().__init__(expiry=options.checked_int("expiry", expiry), capacity=capacity)
        self.channel_capacity = self.compile_capacities(channel_capacity or {})
        self.prefix = prefix
        self.channel_expiry = options.checked_int("channel_expiry", channel_expiry)
        self._mailbox_bytes = options.checked_int("mailbox_bytes", mailbox_bytes)
        self._on_overflow = on_overflow
        self._on_gap = on_gap
        rules = HistoryRules(history)
        # None if no group keeps one.
        self._history = rules if history else None
        if on_gap is not None and self._history is None:
            raise ValueError(
                "on_gap reports gaps in groups with a history: add the option history, or leave "
                "on_gap out"
            )
        if self._history:
            self.extensions = (*type(self).extensions, "history")
        self._store = HistoryStore(self.presence_key_head)
        self._connectors = tuple(map(connector_to, parse_hosts(hosts)))
        # For code that connects to the same servers. The dicts may hold passwords.
        self.hosts = [dict(connector.host.entry) for connector in self._connectors]

    def __repr__(self) -> str:
        """Return the class and the hosts, without passwords."""
        hosts = ", ".join(str(connector.host) for connector in self._connectors)
        return f"{type(self).__name__}({hosts})"

    def require_valid_channel_name(self, name: object, receive: bool = False) -> bool:  # noqa: FBT001, FBT002 - as in Channels
        """Return True; raise TypeError, with the name, if Channels does not accept it."""
        self._require_valid("Channel", name, self.channel_name_regex)
        if receive:
            super().require_valid_channel_name(name, receive)
        return True

    def require_valid_group_name(self, name: object) -> bool:
        """Return True; raise TypeError, with the name, if Channels does not accept it."""
        return self._require_valid("Group", name, self.group_name_regex)

    def _require_valid(self, kind: str, name: Any, pattern: re.Pattern[str]) -> bool:
        if not self.match_type_and_length(name) or not pattern.match(name):
            raise TypeError(f"{self.invalid_name_error.format(kind)} It is {shown(repr(name))}.")
        return True

    def statistics(self) -> Statistics:
        """Return the layer's statistics in this process. Sends no command."""
        broker = self._brokers.get()
        counts = asdict(broker.counters)
        mailboxes = [tracker.mailboxes for tracker in self._trackers()]
        reasons = ("capacity", "expired", "undecodable", "mailbox_full")
        return Statistics(
            dropped=Dropped(**{reason: counts.pop(reason) for reason in reasons}),
            reconnects=counts.pop("reconnects") + sum(host.reconnects for host in broker.outages),
            outage_seconds=sum(host.seconds for host in broker.outages),
            mailboxes=sum(map(len, mailboxes)),
            waiting=sum(each.unread for each in mailboxes),
            groups=broker.count_groups(),
            **counts,
        )

    def _trackers(self) -> list[ConsumerTracker]:
        """Return the consumers of all event loops."""
        return [broker.consumers for broker in self._brokers.get().values()]

    def _tracker_of(self, channel: str) -> ConsumerTracker:
        """Return the consumers among which is that of a channel."""
        raise NotImplementedError

    def attach_sink(self, channel: str, sink: Any) -> Callable[[str], object]:
        """Let a sink take messages for a channel of this process; for `Broadcasts`.

        A subclass that overrides `receive` still receives every message; the sink gets none.

        Returns:
            A function that puts a notice of a type before the channel's messages.
        """
        mailboxes = self._tracker_of(channel).mailboxes
        receiver = next(cls for cls in type(self).__mro__ if "receive" in vars(cls))
        if receiver.__base__ is BaseRedisLayer:
            mailboxes.attach_sink(channel, sink)
        return partial(mailboxes.notify_first, channel)

    @property
    def presence_key_head(self) -> str:
        """The beginning of the names of the keys of presence and of histories."""
        return f"{self.prefix}{self._key_mark}"

    def knows_channel(self, channel: str) -> bool:
        """Return whether there are signs of life of a channel of this process; for `Presence`."""
        return any(tracker.knows(channel) for tracker in self._trackers())

    def on_channels_ended(self, call: Callable[[list[str]], object]) -> None:
        """Call a function with channels of this process when they end; for `Presence`.

        Args:
            call: The function. It is called in the thread in which the end is noticed.
        """
        self._brokers.get().observers.append(call)

    async def group_history(
        self, group: str, since: str | None = None, limit: int | None = None
    ) -> History:
        """Return messages of a group that keeps a history.

        Args:
            group: The group.
            since: A position: only messages after it. None: the latest.
            limit: The maximum number of messages. Default: all that are kept.

        Raises:
            TypeError: The group name or `since` is invalid.
            ValueError: The group keeps no history, or `limit` is no positive integer.
            redis.exceptions.RedisError: As for `group_add`.
        """
        self.require_valid_group_name(group)
        limits = self._require_history(group, since)
        most = limits.size if limit is None else options.checked_int("limit", limit)
        tag = self._history_tag(group)
        question = Question(None, most) if since is None else Question.after(since)
        replay = await self._store.read(tag, question, self.key_shards.of(tag))
        # Others' calls may have asked for more.
        found = replay.latest[-most:] if since is None else replay.after(since)
        entries = list(found or ())[:most]
        # With a limit, there may be more after the last one.
        position = entries[-1].position if since is not None and entries else replay.position
        settings: HistorySettings = self._brokers.get().settings
        messages = [one.decoded.copy() for one in readable(group, entries, settings)]
        is_complete = since is None or (found is not None and len(messages) == len(entries))
        return History(messages, position, recovered=is_complete)

    def _require_history(self, group: str, since: object) -> Limits:
        """Return the limits of a group's history.

        Args:
            group: The group.
            since: A position. A text that is none, perhaps of a browser, is valid: nothing can be
                recovered from it.

        Raises:
            TypeError: `since` is neither text nor None.
            ValueError: The group keeps no history.
        """
        limits = None if self._history is None else self._history.limits(group)
        if limits is None:
            raise ValueError(
                f"the group {group!r} keeps no history: add its name or a pattern of it to the "
                f"option history, as in {EXAMPLE}"
            )
        if since is not None and not isinstance(since, str):
            raise TypeError(
                "since must be a position as a str, such as event['__asgi_position__'], "
                f"not {options.described(since)}"
            )
        return limits

    def _require_rewind(self, group: str, since: object, rewind: object) -> int:
        """Return `rewind` as a number, 0 for None.

        Raises:
            TypeError: As `_require_history`.
            ValueError: As there, or `rewind` is no positive integer.
        """
        self._require_history(group, since)
        return 0 if rewind is None else options.checked_int("rewind", rewind)

    @property
    def key_shards(self) -> Shards:
        """The connections of the running event loop for commands on keys."""
        raise NotImplementedError

    def _history_tag(self, group: str) -> str:
        """Return the name that decides on the shard and slot of a group's history."""
        raise NotImplementedError

    def serialize(self, message: dict[str, Any]) -> bytes:
        """Return a message as bytes, as Redis gets it."""
        data: bytes = self._serializer.serialize(message)
        return data

    def deserialize(self, message: bytes) -> dict[str, Any]:
        """Return the message in bytes that `serialize` returned."""
        decoded: dict[str, Any] = self._serializer.deserialize(message)
        return decoded

    def _encoder(self) -> Callable[[dict[str, Any]], bytes]:
        """Return a function that encodes messages, with `serialize` if a subclass overrides it."""
        overridden = type(self).serialize is not BaseRedisLayer.serialize
        return partial(encode, (self if overridden else self._serializer).serialize)

    def _decoder(self, kind: type[Decoded], serializer: object = None) -> MessageDecoder[Decoded]:
        """Return a decoder that calls `deserialize` if a subclass overrides it."""
        overridden = type(self).deserialize is not BaseRedisLayer.deserialize
        return MessageDecoder(self if overridden else serializer or self._serializer, kind)
