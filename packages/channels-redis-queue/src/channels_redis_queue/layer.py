"""The channel layer, with the methods that Channels calls."""

from __future__ import annotations

import functools
import itertools
from asyncio import get_running_loop
from typing import TYPE_CHECKING, Any

from channels.exceptions import ChannelFull

from . import keys
from ._shared.base_layer import BaseRedisLayer
from ._shared.brokers import ProcessLocal
from ._shared.config import options
from ._shared.messages.serializers import DecodedMessage, registry, sendable
from ._shared.ops.opentelemetry import observe
from ._shared.transport.commands import shard_of
from .brokers import QueueBrokers
from .config import QueueSettings
from .protocol.group_cache import Destination
from .publisher import SendBatch

if TYPE_CHECKING:
    import asyncio
    import re
    from collections.abc import Coroutine, Iterable, Mapping
    from typing import NoReturn

    from ._shared.delivery.consumers import ConsumerTracker
    from ._shared.history import Joined
    from ._shared.transport.commands import Shards


# The messages that may wait for a process, in capacities of a channel.
PROCESS_CAPACITY = 10


class RedisChannelLayer(BaseRedisLayer):
    """A channel layer that queues messages in Redis, in sorted sets.

    One receiver gets a message, once. The message waits for `expiry` seconds if there is none.

    Args:
        hosts: The servers; several are shards of one layer. Each is a URL, a (host, port) pair, or
            a dict of connection arguments. Default: `redis://localhost:6379`.
        prefix: Begins every key in Redis. It should end in a delimiter: with the prefixes `asgi`
            and `asgi2` on one database, `asgi` + `2jobs` and `asgi2` + `jobs` are one key.
        expiry: Seconds that a message waits to be received.
        group_expiry: Seconds that a membership without a consumer lasts after `group_add`.
        capacity: The number of messages that may wait in Redis for a general channel. Ten times as
            many may wait for a process, for all of its channels together.
        channel_capacity: Other capacities, by channel: a dict with globs or compiled patterns as
            keys. The first match in the dict's order counts.
        symmetric_encryption_keys: A list of keys. The first encrypts; all decrypt.
        random_prefix_length: The number of random bytes that make equal messages differ.
        serializer_format: `msgpack`, `json`, or the name of a registered serializer.
        channel_expiry: Seconds that a channel without a consumer stays in its groups and waits for
            a new one.
        mailbox_bytes: The size of all unread messages of an event loop; above it the fullest
            channels lose their oldest.
        on_overflow: The `type` of a message that replaces a consumer's lost ones, with their number
            as `lost`. Default: no message.
        history: The groups whose latest messages Redis keeps, so that none is lost silently: a
            dict with globs or compiled patterns as keys, and values such as
            `{"size": 100, "ttl": 300}`. The first match counts. Default: none.
        on_gap: The `type` of a message that notifies members of such a group, with its name as
            `group`, that messages are missing. Default: no message.

    Raises:
        ValueError: An option's value is invalid.
        TypeError: An option does not exist.
    """

    _key_mark = "$"

    def __init__(  # noqa: PLR0913, PLR0917 - the options of channels_redis, in its order
        self,
        hosts: Iterable[Any] | None = None,
        prefix: str = "asgi",
        expiry: int = 60,
        group_expiry: int = 86400,
        capacity: int = 100,
        channel_capacity: Mapping[str | re.Pattern[str], int] | None = None,
        symmetric_encryption_keys: list[str] | list[bytes] | None = None,
        random_prefix_length: int = 12,
        serializer_format: str = "msgpack",
        channel_expiry: int = 60,
        mailbox_bytes: int = 64 * 1024 * 1024,
        on_overflow: str | None = None,
        history: Mapping[str | re.Pattern[str], Mapping[str, int]] | None = None,
        on_gap: str | None = None,
        **unknown: NoReturn,
    ) -> None:
        options.refuse_unknown(unknown, RedisChannelLayer.__init__, type(self).__name__)
        super().__init__(
            hosts=hosts,
            prefix=prefix,
            expiry=expiry,
            capacity=options.checked_int("capacity", capacity),
            channel_capacity=channel_capacity,
            channel_expiry=channel_expiry,
            mailbox_bytes=mailbox_bytes,
            on_overflow=on_overflow,
            history=history,
            on_gap=on_gap,
        )
        self.group_expiry = options.checked_int("group_expiry", group_expiry)
        self._encrypts = bool(symmetric_encryption_keys)
        make_serializer = functools.partial(
            registry.get_serializer,
            serializer_format,
            symmetric_encryption_keys=symmetric_encryption_keys,
            random_prefix_length=options.random_prefix_length(random_prefix_length),
        )
        self._serializer = make_serializer(expiry=self.expiry)
        self._encode = self._encoder()
        # A history may hold messages that are older than `expiry`.
        self._history_decoder = self._decoder(DecodedMessage, make_serializer(expiry=None))
        self._turn = itertools.cycle(range(len(self._connectors)))
        self._keys = keys.Keys(prefix)
        # Checking a name takes as long as packing a message.
        self._destination_of = functools.lru_cache(maxsize=128)(self._find_destination)
        self._batch = SendBatch(self.expiry)
        self._brokers: ProcessLocal[QueueBrokers] = ProcessLocal(self._start_brokers)
        observe(self)

    def _start_brokers(self) -> QueueBrokers:
        capacities = (capacity for _, capacity in self.channel_capacity)
        return QueueBrokers(
            QueueSettings(
                connectors=self._connectors,
                keys=self._keys,
                expiry=self.expiry,
                group_expiry=self.group_expiry,
                encode=self._encode,
                make_decoder=self._decoder,
                key_capacity=self._key_capacity,
                largest_key_capacity=PROCESS_CAPACITY * max([self.capacity, *capacities]),
                channel_expiry=self.channel_expiry,
                mailbox_bytes=self._mailbox_bytes,
                on_overflow=self._on_overflow,
                shard_to=self._shard_to,
                encrypts=self._encrypts,
                history=self._history,
                store=self._store,
                decoder=self._history_decoder,
                on_gap=self._on_gap,
            )
        )

    @property
    def key_shards(self) -> Shards:
        """The command connections of the running event loop."""
        return self._brokers.get().shards

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine until the connections of this event loop close; for `Presence`."""
        return self._brokers.get().get().spawn(coroutine)

    @property
    def client_prefix(self) -> str:
        """The id of this process and event loop in the names of new channels, before the `!`."""
        return self._brokers.get().new_broker_id()

    async def new_channel(self, prefix: str = "specific") -> str:
        """Return the name of a new channel that this process can receive on.

        Args:
            prefix: Begins the name.

        Raises:
            TypeError: The prefix does not make a valid channel name.
        """
        brokers, client_prefix = self._brokers.get(), self.client_prefix
        address = f"{prefix}.{client_prefix}!"
        # As long as the name that it will be.
        name = f"{address}{client_prefix}"
        self.require_valid_channel_name(name if isinstance(prefix, str) else prefix)
        channel = keys.new_channel(address, len(self._connectors))
        brokers.owner(channel).consumers.track_creator(channel)
        return channel

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send a message to a channel.

        Args:
            channel: A general channel (`name`), or a process-specific one (`name.process!local`).
            message: A dict of values that the serializer supports.

        Raises:
            channels.exceptions.ChannelFull: The channel's capacity is exhausted.
            channels.exceptions.MessageTooLarge: Over 512 MB, the limit of Redis.
            TypeError: The channel name is invalid, or the message can't be serialized.
            redis.exceptions.RedisError: The server refused the message, or was unavailable for
                longer than the host's `socket_timeout` (5 s). If the connection broke after the
                message was written, it may have arrived; it is never sent twice.
        """
        message = sendable(message)
        if not isinstance(channel, str):
            self.require_valid_channel_name(channel)
        destination = self._destination_of(channel)
        # A message for a general channel only needs its name to authenticate it.
        if self._encrypts or "!" in channel:
            message = {**message, keys.CHANNELS_FIELD: channel}
        messages = [(destination, self._encode(message))]
        brokers = self._brokers.value or self._brokers.get()
        shard = self._shard_to(destination.address) if len(self._connectors) > 1 else 0
        if await self._batch.send(messages, brokers.shards[shard]):
            brokers.counters.capacity += 1
            raise ChannelFull(channel)
        brokers.counters.sent += 1

    async def receive(self, channel: str) -> dict[str, Any]:
        """Return the next message of a channel, and wait for it if there is none.

        It also waits while the server is unavailable. A cancelled call loses no message.

        Raises:
            TypeError: The channel name is invalid.
            RuntimeError: The channel belongs to another process or layer, or to an event loop that
                runs in another thread.
            redis.exceptions.RedisError: The server does not accept the settings: a wrong password,
                a missing permission, an invalid certificate.
        """
        brokers = self._brokers.value or self._brokers.get()
        broker = brokers.by_loop.get(get_running_loop())
        # Other types may not be hashable.
        if broker is None or not isinstance(channel, str) or not broker.knows(channel):
            self.require_valid_channel_name(channel)
            broker = await brokers.open(channel)
        while (message := await broker.receive(channel)) is None:
            broker = await brokers.open(channel)
        return message

    async def group_add(
        self, group: str, channel: str, *, since: str | None = None, rewind: int | None = None
    ) -> Joined | None:
        """Make a channel a member of a group, or renew its membership for `group_expiry` seconds.

        The channel may also get a group message that was sent just before and still waits for the
        channel's brokers.

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
            ValueError: `since` or `rewind` is given and the group keeps no history, or the channel
                is not one of this process, or `rewind` is no positive integer.
            redis.exceptions.RedisError: As for `send`; the call can be repeated.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        brokers = self._brokers.value or self._brokers.get()
        if since is not None or rewind is not None:
            rewind = self._require_rewind(group, since, rewind)
            if await brokers.own(channel) is None:
                raise ValueError(
                    f"{channel!r} is not a channel of this event loop: only its own can give it "
                    "messages of the past. Leave out since and rewind, or send the channel a "
                    "message whose handler calls group_add"
                )
        if self._history is not None and self._history.limits(group) is not None:
            return await brokers.follow(group, channel, since, rewind or 0)
        await brokers.join(group, channel)
        return None

    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel from a group, if it is a member.

        The channel still gets the messages that were sent to the group before this call.

        Raises:
            TypeError: A name is invalid.
            redis.exceptions.RedisError: As for `group_add`.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        await self._brokers.get().leave(group, channel)

    async def group_send(
        self, group: str, message: dict[str, Any], *, exclude: Iterable[str] = ()
    ) -> None:
        """Send a message to all members of a group, except members over capacity.

        Args:
            group: The group.
            message: A dict of values that the serializer supports.
            exclude: Up to 16 channels that do not get the message, such as the sender's own.

        Raises:
            TypeError: A group or channel name is invalid, or the message can't be serialized.
            ValueError: `exclude` has more than 16 channels.
            redis.exceptions.RedisError: As for `send`. With several hosts, members on the other
                hosts may have got the message.
        """
        message = sendable(message)
        self.require_valid_group_name(group)
        brokers = self._brokers.value or self._brokers.get()
        excluded = (
            options.excluded_channels(exclude, self.require_valid_channel_name) if exclude else ()
        )
        await brokers.publisher.publish(group, message, brokers.shards, excluded)
        brokers.counters.sent += 1

    async def group_count(self, group: str) -> int:
        """Return the present number of a group's members, in all processes.

        `group_add` and `group_discard` count at once. A consumer that ended without `group_discard`
        counts for up to `channel_expiry` seconds more, those of a killed process for up to a
        minute, a general channel for `group_expiry` seconds. Takes two round trips, for any number
        of members.

        Raises:
            TypeError: The group name is invalid.
            redis.exceptions.RedisError: As for `group_add`.
        """
        self.require_valid_group_name(group)
        brokers = self._brokers.get()
        return await brokers.groups.count_channels(group, brokers.shards)

    async def group_channels(self, group: str) -> list[str]:
        """Return the channels that `group_count` counts, in no particular order.

        Raises:
            TypeError: The group name is invalid.
            redis.exceptions.RedisError: As for `group_add`.
        """
        self.require_valid_group_name(group)
        brokers = self._brokers.get()
        return await brokers.groups.channels(group, brokers.shards)

    async def flush(self) -> None:
        """Delete all messages and groups of all layers with this prefix, on all hosts.

        Running processes write their memberships again.
        """
        await self._brokers.get().flush()

    async def close_pools(self) -> None:
        """Close the connections of the running event loop.

        Only needed if the loop continues after the layer's use, as in a test: a loop that ends
        closes everything itself. Undelivered messages return to Redis.
        """
        await self._brokers.get().close_connections()

    def _history_tag(self, group: str) -> str:
        return group

    def _find_destination(self, channel: str) -> Destination:
        self.require_valid_channel_name(channel)
        address, capacity = keys.non_local(channel), self._key_capacity(channel)
        return Destination.of(address, [channel], self._keys, capacity)

    def _key_capacity(self, channel: str) -> int:
        """Return the number of messages that may wait where those for a channel do."""
        capacity: int = self.get_capacity(channel)
        return PROCESS_CAPACITY * capacity if "!" in channel else capacity

    def _tracker_of(self, channel: str) -> ConsumerTracker:
        return self._brokers.get().owner(channel).consumers

    def _shard_to(self, address: str) -> int:
        """Return a shard that receivers of the address read; for a general channel, the next."""
        if "!" in address:
            return shard_of(address, len(self._connectors))
        return next(self._turn)
