"""The channel layer: what Channels calls, checked and handed on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ._shared.base_layer import BaseRedisLayer
from ._shared.concurrency.process_local import ProcessLocal
from ._shared.config import options
from ._shared.messages.serializers import DecodedMessage, registry
from ._shared.ops.opentelemetry import observe
from ._shared.transport.connector import ANY_VERSION, SHARDED_PUBSUB
from .broker import PubSubBroker
from .config import PubSubSettings
from .protocol.names import Names

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Mapping
    from typing import NoReturn

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
    """A channel layer on Redis Pub/Sub: messages go straight to the processes that listen.

    Nothing is stored in Redis. What is sent while a process is disconnected is gone for it, and
    consumers can be told of that.

    Args:
        hosts: The servers; several are shards of one layer. Each is a URL, a (host, port) pair, or
            a dict of connection arguments. Default: `redis://localhost:6379`.
        prefix: Begins the names of new channels, and the Redis channels of groups.
        on_disconnect: The `type` of a message that each channel of this process gets when a
            connection is lost on which its name or one of its groups was heard. Default: none is
            sent.
        on_reconnect: The `type` of a message that it gets when all that was lost is heard again.
            Default: none is sent.
        capacity: How many unread messages a channel holds in its process; then the oldest is
            dropped. Default: any number, within `expiry` and `mailbox_bytes`.
        channel_capacity: Other capacities, by channel: a dict with a glob or a compiled pattern
            as key. The first that matches, in the dict's order, counts.
        symmetric_encryption_keys: A list of keys. The first encrypts; all decrypt.
        serializer_format: `msgpack`, `json`, or what was registered as a serializer.
        sharded_pubsub: Whether to use sharded Pub/Sub, of Redis 7.0 and Valkey. In a Redis Cluster
            a message then goes through one node, not through all. Layers with and without it do
            not hear each other; neither do those of `channels_redis`.
        expiry: Seconds that a message waits in its process to be received.
        channel_expiry: Seconds that a channel without a consumer is kept for a new one.
        mailbox_bytes: How many bytes all unread messages of a process may have; then the fullest
            channels lose their oldest.
        on_overflow: The `type` of a message that a consumer finds in the place of lost ones, with
            their number as `lost`. Default: none is sent.

    Raises:
        ValueError: A value that is not allowed.
        TypeError: An option that does not exist.
    """

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
            minimum_version=SHARDED_PUBSUB if sharded_pubsub else ANY_VERSION,
        )
        if ignored:
            logger.warning(
                "%s ignores %s, which only the queue layer has a use for: take it out of CONFIG",
                type(self).__name__,
                ", ".join(ignored),
            )
        self.on_disconnect = on_disconnect
        self.on_reconnect = on_reconnect
        self._sharded_pubsub = sharded_pubsub
        self._names = Names(prefix, self.require_valid_channel_name, self.require_valid_group_name)
        self._serializer = registry.get_serializer(
            serializer_format,
            symmetric_encryption_keys=symmetric_encryption_keys,
            random_prefix_length=0,
            expiry=None,
        )
        self._broker: ProcessLocal[PubSubBroker] = ProcessLocal(self._start_broker)
        observe(self)

    def _start_broker(self) -> PubSubBroker:
        return PubSubBroker(
            PubSubSettings(
                connectors=self._connectors,
                decoder=self._decoder(DecodedMessage),
                capacity=self.get_capacity,
                expiry=self.expiry,
                channel_expiry=self._channel_expiry,
                mailbox_bytes=self._mailbox_bytes,
                on_overflow=self._on_overflow,
                on_disconnect=self.on_disconnect,
                on_reconnect=self.on_reconnect,
                sharded_pubsub=self._sharded_pubsub,
            )
        )

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Return the name of a new channel, on which this process listens from now on.

        The channel goes with its consumer, with its groups and its unread messages: at once when
        the task that made it ends by being cancelled in `receive`, else `channel_expiry` seconds
        after its last receiver has gone.

        Args:
            prefix: Stands in the name behind the layer's own prefix.

        Raises:
            TypeError: The prefix makes no valid channel name.
            redis.exceptions.RedisError: The server is away for longer than the host's
                `socket_timeout` (5 s), or refuses the subscription.
        """
        channel = self._names.new_channel(prefix)
        broker = self._broker.get()
        await broker.open(channel)
        broker.consumers.track_creator(channel)
        return channel

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send a message to a channel.

        Every process that listens on it gets the message. If none does, it is gone.

        Args:
            channel: A name that `new_channel` returned in some process, or any other.
            message: A dict that the serializer can write.

        Raises:
            channels.exceptions.MessageTooLarge: Over 512 MB, which Redis can't carry.
            TypeError: No valid channel name, or a message that can't be serialized.
            redis.exceptions.RedisError: The server refused it, or is away for longer than the
                host's `socket_timeout` (5 s). If the connection broke after the message had been
                written, it may have been sent; it is never sent twice.
        """
        options.require_message(message)
        self._names.require_channel(channel)
        await self._broker.get().publish(channel, self._serialized(message))

    async def receive(self, channel: str) -> dict[str, Any]:
        """Return the next message of a channel, and wait for it if there is none.

        On a channel that `new_channel` did not make in this process, listening begins with this
        call. While the server is away it waits, too. A cancelled call loses no message.

        Raises:
            TypeError: No valid channel name.
            redis.exceptions.RedisError: The settings do not fit the server: a wrong password, a
                missing right, a bad certificate.
        """
        broker = self._broker.get()
        # A list, say, could not even be looked up.
        if not isinstance(channel, str) or channel not in broker:
            self._names.require_channel(channel)
        return await broker.receive(channel)

    async def group_add(self, group: str, channel: str) -> None:
        """Make a channel of this process a member of a group, until `group_discard`.

        What is sent to the group after this has returned reaches the channel.

        Raises:
            TypeError: No valid group or channel name.
            RuntimeError: The channel is none of this process, or the event loop in which it was
                made does not run.
            redis.exceptions.RedisError: As for `new_channel`. The channel is no member then, unless
                it was one before.
        """
        topic = self._names.topic(group)
        self._names.require_channel(channel)
        if not await self._broker.get().join(topic.encode(), channel):
            raise RuntimeError(
                f"{channel!r} is not a channel of this process: only the process that listens on a "
                "channel can add it to a group. In a consumer, write "
                f"self.channel_layer.group_add({group!r}, self.channel_name). From elsewhere, send "
                "the channel a message whose handler does that"
            )

    async def group_discard(self, group: str, channel: str) -> None:
        """End a channel's membership at once, if it has one and is of this process.

        Raises:
            TypeError: No valid group or channel name.
        """
        topic = self._names.topic(group)
        self._names.require_channel(channel)
        self._broker.get().leave(topic.encode(), channel)

    async def group_send(
        self, group: str, message: dict[str, Any], *, exclude: Iterable[str] = ()
    ) -> None:
        """Send a message to all members of a group, in whichever process.

        Args:
            group: The group.
            message: A dict that the serializer can write.
            exclude: Up to 16 channels that do not get it, such as the sender's own.

        Raises:
            TypeError: No valid group or channel name, or a message that can't be serialized.
            ValueError: More than 16 channels to exclude.
            redis.exceptions.RedisError: As for `send`.
        """
        options.require_message(message)
        if exclude:
            names = options.excluded_channels(exclude, self._names.require_channel)
            message = {**message, options.EXCLUDE: names}
        await self._broker.get().publish(self._names.topic(group), self._serialized(message))

    async def group_count(self, group: str) -> int:
        """Raise NotImplementedError: the queue layer can tell, Redis Pub/Sub can't."""
        raise NotImplementedError(_UNKNOWN_MEMBERS.format(group))

    async def group_channels(self, group: str) -> list[str]:
        """Raise NotImplementedError: the queue layer can tell, Redis Pub/Sub can't."""
        raise NotImplementedError(_UNKNOWN_MEMBERS.format(group))

    async def flush(self) -> None:
        """Drop the unread messages of this process, and end the memberships of its channels.

        The channels themselves stay. Redis holds nothing, and what other processes hold is theirs.
        """
        self._broker.get().flush()

    async def close_pools(self) -> None:
        """Close what the layer has open in the running event loop, with its channels.

        Needed only where a loop goes on after the layer's use, as in a test; a loop that ends
        closes it by itself. Closes the connection that short-lived loops share, too.
        """
        await self._broker.get().close_connections()
