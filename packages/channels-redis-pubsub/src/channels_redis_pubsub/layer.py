"""The channel layer, with the methods that Channels calls."""

from __future__ import annotations

import logging
from asyncio import get_running_loop
from typing import TYPE_CHECKING, Any

from ._shared.base_layer import BaseRedisLayer, ForeignChannelError
from ._shared.brokers import ProcessLocal
from ._shared.config import options
from ._shared.messages.serializers import EXCLUDE, DecodedMessage, registry, sendable
from ._shared.ops.opentelemetry import observe
from .brokers import PubSubBrokers
from .config import PubSubSettings
from .protocol.names import Names

if TYPE_CHECKING:
    import asyncio
    import re
    from collections.abc import Coroutine, Iterable, Mapping
    from typing import NoReturn

    from ._shared.delivery.consumers import ConsumerTracker
    from ._shared.history import Joined
    from ._shared.history.rules import Limits
    from ._shared.transport.commands import Shards

logger = logging.getLogger(__package__)

# The queue layer's options, which sites keep in CONFIG when they change the BACKEND.
_IGNORED = ("group_expiry", "random_prefix_length")
_UNKNOWN_MEMBERS = (
    "Redis Pub/Sub knows which processes listen to the group {0!r}, and not for how many channels. "
    "Use the queue layer (channels_redis_queue.RedisChannelLayer), whose group_count and "
    "group_channels can tell, or count in your consumers, for instance in a database. How many "
    "processes listen, `python -m channels_redis_pubsub stats` shows"
)


class RedisPubSubChannelLayer(BaseRedisLayer):
    """A channel layer on Redis Pub/Sub: messages go straight to the subscribed processes.

    Redis stores nothing, except for groups that keep a `history`. A process misses the other
    messages of the time in which it is disconnected, and can notify its consumers of that.

    Args:
        hosts: The servers; several are shards of one layer. Each is a URL, a (host, port) pair, or
            a dict of connection arguments. Default: `redis://localhost:6379`.
        prefix: Begins the names of new channels, and the Redis channels of groups.
        on_disconnect: The `type` of a message that each channel of this process gets when a
            connection with its subscriptions is lost. Default: no message.
        on_reconnect: The `type` of a message that it gets when all of them are restored. Default:
            no message.
        capacity: The number of unread messages that a channel holds in its process; then the oldest
            is dropped. Default: any number, within `expiry` and `mailbox_bytes`.
        channel_capacity: Other capacities, by channel: a dict with globs or compiled patterns as
            keys. The first match in the dict's order counts.
        symmetric_encryption_keys: A list of keys. The first encrypts; all decrypt.
        serializer_format: `msgpack`, `json`, or the name of a registered serializer.
        sharded_pubsub: Use sharded Pub/Sub, of Redis 7.0 and Valkey. In a Redis Cluster a message
            then goes through one node, not through all. Layers with and without it, and those of
            `channels_redis` 4, do not reach each other.
        expiry: Seconds that a message waits in its process to be received.
        channel_expiry: Seconds that a channel without a consumer is kept for a new one.
        mailbox_bytes: The size of all unread messages of an event loop; above it the fullest
            channels lose their oldest.
        on_overflow: The `type` of a message that replaces a consumer's lost ones, with their number
            as `lost`. Default: no message.
        history: The groups whose latest messages Redis keeps, so that none is lost in an outage: a
            dict with globs or compiled patterns as keys, and values such as
            `{"size": 100, "ttl": 300}`. The first match counts. Default: none.
        on_gap: The `type` of a message that notifies members of such a group, with its name as
            `group`, that messages are missing nevertheless. Default: no message.

    Raises:
        ValueError: An option's value is invalid.
        TypeError: An option does not exist.
    """

    _key_mark = "$pubsub."

    def __init__(  # noqa: PLR0913, PLR0917 - the options of channels_redis, in its order
        self,
        hosts: Iterable[Any] | None = None,
        prefix: str = "asgi",
        on_disconnect: str | None = None,
        on_reconnect: str | None = None,
        capacity: int | None = None,
        channel_capacity: Mapping[str | re.Pattern[str], int] | None = None,
        symmetric_encryption_keys: list[str] | list[bytes] | None = None,
        serializer_format: str = "msgpack",
        sharded_pubsub: bool = False,  # noqa: FBT001, FBT002 - an option like the others
        expiry: int = 60,
        channel_expiry: int = 60,
        mailbox_bytes: int = 64 * 1024 * 1024,
        on_overflow: str | None = None,
        history: Mapping[str | re.Pattern[str], Mapping[str, int]] | None = None,
        on_gap: str | None = None,
        **unknown: NoReturn,
    ) -> None:
        ignored = [name for name in unknown if name in _IGNORED]
        options.refuse_unknown(
            [name for name in unknown if name not in _IGNORED],
            RedisPubSubChannelLayer.__init__,
            type(self).__name__,
        )
        options.require_message_type("on_disconnect", on_disconnect)
        options.require_message_type("on_reconnect", on_reconnect)
        if not isinstance(sharded_pubsub, bool):
            raise ValueError(f"sharded_pubsub must be True or False, not {sharded_pubsub!r}")
        super().__init__(
            hosts=hosts,
            prefix=prefix,
            expiry=expiry,
            capacity=capacity,
            channel_capacity=channel_capacity,
            channel_expiry=channel_expiry,
            mailbox_bytes=mailbox_bytes,
            on_overflow=on_overflow,
            history=history,
            on_gap=on_gap,
        )
        if ignored:
            logger.warning(
                "%s ignores the queue-layer option %s: remove it from CONFIG",
                type(self).__name__,
                ", ".join(ignored),
            )
        self.on_disconnect = on_disconnect
        self.on_reconnect = on_reconnect
        self._sharded_pubsub = sharded_pubsub
        self._publish_command = "SPUBLISH" if sharded_pubsub else "PUBLISH"
        self._names = Names(prefix, self.require_valid_channel_name, self.require_valid_group_name)
        self._topic, self._require_channel = self._names.cached_topic, self._names.cached_check
        self._serializer = registry.get_serializer(
            serializer_format,
            symmetric_encryption_keys=symmetric_encryption_keys,
            random_prefix_length=0,
            expiry=None,
        )
        self._encode = self._encoder()
        self._history_decoder = self._decoder(DecodedMessage)
        self._brokers: ProcessLocal[PubSubBrokers] = ProcessLocal(self._start_brokers)
        observe(self)

    def _history_tag(self, group: str) -> str:
        # Of the topic: in a Cluster, a script also publishes to it.
        return self._names.topic(group)

    def _start_brokers(self) -> PubSubBrokers:
        return PubSubBrokers(
            PubSubSettings(
                connectors=self._connectors,
                decoder=self._history_decoder,
                capacity=self.get_capacity,
                expiry=self.expiry,
                channel_expiry=self.channel_expiry,
                mailbox_bytes=self._mailbox_bytes,
                on_overflow=self._on_overflow,
                on_disconnect=self.on_disconnect,
                on_reconnect=self.on_reconnect,
                sharded_pubsub=self._sharded_pubsub,
                group_of=self._names.group,
                history=self._history,
                store=self._store,
                on_gap=self._on_gap,
            )
        )

    def _tracker_of(self, channel: str) -> ConsumerTracker:
        brokers = self._brokers.get()
        broker = next((one for one in brokers.values() if channel in one.hub), None)
        return (broker or brokers.get()).consumers

    @property
    def key_shards(self) -> Shards:
        """The connections of the running event loop for commands on keys."""
        return self._brokers.get().shards()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine until the connections of this event loop close; for `Presence`."""
        return self._brokers.get().get().tasks.spawn(coroutine)

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Return the name of a new channel, and subscribe this process to it.

        The channel ends with its consumer, and so do its memberships and unread messages: at once
        when the task that made it is cancelled in `receive`, else `channel_expiry` seconds after
        its last `receive`.

        Args:
            prefix: Follows the layer's own prefix in the name.

        Raises:
            TypeError: The prefix does not make a valid channel name.
            redis.exceptions.RedisError: The server is unavailable for longer than the host's
                `socket_timeout` (5 s), or refuses the subscription.
        """
        brokers = self._brokers.get()
        channel = self._names.new_channel(prefix, brokers.id)
        broker = brokers.get()
        await broker.open(channel)
        broker.consumers.track_creator(channel)
        return channel

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send a message to a channel.

        Every process that is subscribed to the channel gets the message. Without one, it is lost.

        Args:
            channel: A name that `new_channel` returned in any process, or any other name.
            message: A dict of values that the serializer supports.

        Raises:
            channels.exceptions.MessageTooLarge: Over 512 MB, the limit of Redis.
            TypeError: The channel name is invalid, or the message can't be serialized.
            redis.exceptions.RedisError: The server refused the message, or was unavailable for
                longer than the host's `socket_timeout` (5 s). If the connection broke after the
                message was written, it may have arrived; it is never sent twice.
        """
        message = sendable(message)
        # Straight from the cache, for each message.
        require = self._require_channel if isinstance(channel, str) else self._names.require_channel
        require(channel)
        await self._publish(channel, self._encode(message))

    async def receive(self, channel: str) -> dict[str, Any]:
        """Return the next message of a channel, and wait for it if there is none.

        The first call subscribes to a channel that `new_channel` did not make in this process. It
        also waits while the server is unavailable. A cancelled call loses no message.

        Raises:
            TypeError: The channel name is invalid.
            RuntimeError: `new_channel` made it in another process or another layer, or in another
                event loop, which still runs.
            redis.exceptions.RedisError: The server does not accept the settings: a wrong password,
                a missing permission, an invalid certificate.
        """
        brokers = self._brokers.value or self._brokers.get()
        broker = brokers.by_loop.get(get_running_loop())
        # Other types may not be hashable.
        if broker is None or not isinstance(channel, str) or channel not in broker.hub:
            self._names.require_channel(channel)
            process = self._names.process_of(channel)
            if process not in {None, brokers.id}:
                raise ForeignChannelError(channel)
            broker = await brokers.of_channel(channel, is_made_here=process is not None)
        return await broker.receive(channel)

    async def group_add(
        self, group: str, channel: str, *, since: str | None = None, rewind: int | None = None
    ) -> Joined | None:
        """Make a channel of this process a member of a group, until `group_discard`.

        The channel gets every message that is sent to the group after this call.

        Args:
            group: The group.
            channel: The channel.
            since: A position: the channel also gets what was sent after it, if the group keeps a
                history. It gets that before any new message.
            rewind: The number of latest messages that the channel gets without `since`, or if
                messages after it are missing. One that is a member already gets nothing again.

        Returns:
            The position of the channel in the history of the group; None if the group keeps none.

        Raises:
            TypeError: A name or `since` is invalid.
            ValueError: `since` or `rewind` is given and the group keeps no history, or `rewind` is
                no positive integer.
            RuntimeError: The channel is not one of this process, or that of another event loop,
                which still runs.
            redis.exceptions.RedisError: As for `new_channel`. The channel does not become a member.
        """
        topic = self._names.topic(group).encode()
        self._names.require_channel(channel)
        keeps_history = self._history is not None and self._history.limits(group) is not None
        if since is not None or rewind is not None:
            rewind = self._require_rewind(group, since, rewind)
        brokers = self._brokers.value or self._brokers.get()
        broker = brokers.by_loop.get(get_running_loop())
        if broker is None or channel not in broker.hub:
            is_made_here = self._names.process_of(channel) is not None
            broker = await brokers.of_channel(channel, is_made_here=is_made_here)
            if channel not in broker.hub:
                raise RuntimeError(
                    f"{channel!r} is not a channel of this process: only the process that listens "
                    "on a channel can add it to a group. In a consumer, write "
                    f"self.channel_layer.group_add({group!r}, self.channel_name). From elsewhere, "
                    "send the channel a message whose handler does that"
                )
        return await broker.join(topic, channel, since, rewind or 0, keeps_history=keeps_history)

    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel of this process from a group at once, if it is a member.

        Raises:
            TypeError: A name is invalid.
        """
        topic = self._names.topic(group)
        self._names.require_channel(channel)
        self._brokers.get().leave(topic.encode(), channel)

    async def group_send(
        self, group: str, message: dict[str, Any], *, exclude: Iterable[str] = ()
    ) -> None:
        """Send a message to all members of a group, in all processes.

        Args:
            group: The group.
            message: A dict of values that the serializer supports.
            exclude: Up to 16 channels that do not get the message, such as the sender's own.

        Raises:
            TypeError: A group or channel name is invalid, or the message can't be serialized.
            ValueError: `exclude` has more than 16 channels.
            redis.exceptions.RedisError: As for `send`.
        """
        message = sendable(message)
        if exclude:
            names = options.excluded_channels(exclude, self._names.require_channel)
            message = {**message, EXCLUDE: names}
        # Straight from the cache, for each message.
        topic = (self._topic if isinstance(group, str) else self._names.topic)(group)
        data = self._encode(message)
        limits = None if self._history is None else self._history.limits(group)
        await self._publish(topic, data, limits)

    async def _publish(self, topic: str, data: bytes, limits: Limits | None = None) -> None:
        """Send bytes to all members of a topic, and append them to its history if it has limits."""
        brokers = self._brokers.value or self._brokers.get()
        # Straight from its table, for each message.
        broker = brokers.by_loop.get(get_running_loop())
        shards = brokers.shards() if broker is None else broker.shards
        commands, command = shards.of(topic), self._publish_command
        if limits is None:
            # Each node of a Cluster passes messages on to all others, unless they are sharded.
            key = topic if self._sharded_pubsub else None
            await commands.execute((command, topic, data), key=key)
        else:
            await self._store.append(topic, data, limits, commands, command, topic)
        brokers.counters.sent += 1

    async def group_count(self, group: str) -> int:
        """Raise NotImplementedError: only the queue layer knows the members of a group."""
        raise NotImplementedError(_UNKNOWN_MEMBERS.format(group))

    async def group_channels(self, group: str) -> list[str]:
        """Raise NotImplementedError: only the queue layer knows the members of a group."""
        raise NotImplementedError(_UNKNOWN_MEMBERS.format(group))

    async def flush(self) -> None:
        """Drop the unread messages of this process and the memberships of its channels.

        The channels themselves and other processes are not affected, nor are the histories of
        groups. Redis stores nothing else.
        """
        self._brokers.get().flush()

    async def close_pools(self) -> None:
        """Close the connections of synchronous callers, and those of the running event loop.

        Only needed if the loop continues after the layer's use, as in a test: a loop that ends
        closes everything itself. While consumers in other tasks of the loop still run, its
        connections stay. A channel that is used again later gets `on_disconnect` and
        `on_reconnect`, as after an outage, and is still in its groups.
        """
        await self._brokers.get().close_connections()
