"""The channel layer: what Channels calls, checked and handed on."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

from channels.exceptions import ChannelFull

from . import keys
from ._shared.base_layer import BaseRedisLayer
from ._shared.concurrency.process_local import ProcessLocal
from ._shared.config import options
from ._shared.messages.serializers import registry
from ._shared.ops.opentelemetry import observe
from ._shared.transport.shards import shard_of
from .broker import QueueBroker
from .config import QueueSettings
from .publisher import OutgoingMessage, SendBatch

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Mapping
    from typing import NoReturn


class _ForeignChannel(RuntimeError, AssertionError):
    """Raised when a channel is another process's; an AssertionError too, as in channels_redis."""


class RedisChannelLayer(BaseRedisLayer):
    """A channel layer that queues messages in Redis, in sorted sets.

    A message reaches one reader, once, and waits for a while if that one is away.

    Args:
        hosts: The servers; several are shards of one layer. Each is a URL, a (host, port) pair, or
            a dict of connection arguments. Default: `redis://localhost:6379`.
        prefix: Begins every key in Redis. Best ends in a delimiter: with the prefixes `asgi` and
            `asgi2` on one database, `asgi` + `2jobs` and `asgi2` + `jobs` are one key.
        expiry: Seconds that a message waits to be received.
        group_expiry: Seconds that a membership lives from the latest `group_add`.
        capacity: How many messages may wait for a channel. Process-specific channels of one process
            share their room: while half of a capacity waits, any may use it; beyond that each may
            add the other half, up to ten times the capacity in all.
        channel_capacity: Other capacities, by channel: a dict with a glob or a compiled pattern
            as key. The first that matches, in the dict's order, counts.
        symmetric_encryption_keys: A list of keys. The first encrypts; all decrypt.
        random_prefix_length: How many random bytes keep equal messages apart.
        serializer_format: `msgpack`, `json`, or what was registered as a serializer.
        groups: `processes` writes one name per process and group to Redis; `members` writes every
            member's, which only fleets need in which `channels_redis` processes take other
            processes' members out of groups.
        channel_expiry: Seconds that a channel without a consumer stays in its groups, for a new one
            to come.
        mailbox_bytes: How many bytes all messages that a process has taken and its consumers have
            not received may have; then the fullest channels lose their oldest.
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
        expiry: int = 60,
        group_expiry: int = 86400,
        capacity: int = 100,
        channel_capacity: Mapping[str | re.Pattern[str], int] | None = None,
        symmetric_encryption_keys: list[str] | list[bytes] | None = None,
        random_prefix_length: int = 12,
        serializer_format: str = "msgpack",
        groups: str = "processes",
        channel_expiry: int = 60,
        mailbox_bytes: int = 64 * 1024 * 1024,
        on_overflow: str | None = None,
        **unknown: NoReturn,
    ) -> None:
        options.refuse_unknown(unknown, RedisChannelLayer.__init__, type(self).__name__)
        if groups not in ("processes", "members"):
            raise ValueError(f"groups must be 'processes' or 'members', not {groups!r}")
        super().__init__(
            hosts=hosts,
            prefix=prefix,
            expiry=expiry,
            capacity=options.positive_int("capacity", capacity),
            channel_capacity=channel_capacity,
            channel_expiry=channel_expiry,
            mailbox_bytes=mailbox_bytes,
            on_overflow=on_overflow,
        )
        self.group_expiry = options.positive_int("group_expiry", group_expiry)
        self._groups_by_process = groups == "processes"
        self._encrypts = bool(symmetric_encryption_keys)
        self._serializer = registry.get_serializer(
            serializer_format,
            symmetric_encryption_keys=symmetric_encryption_keys,
            random_prefix_length=options.random_prefix_length(random_prefix_length),
            expiry=self.expiry,
        )
        self._turn = itertools.cycle(range(len(self._connectors)))
        self._keys = keys.Keys(prefix)
        # Checking a name takes as long as packing a message. Few, as each holds on to its name.
        self._place_of = functools.lru_cache(maxsize=128)(self._find_place)
        self._batch = SendBatch(self.expiry)
        self._broker: ProcessLocal[QueueBroker] = ProcessLocal(self._start_broker)
        observe(self)

    def _start_broker(self) -> QueueBroker:
        capacities = (capacity for _, capacity in self.channel_capacity)
        return QueueBroker(
            QueueSettings(
                connectors=self._connectors,
                keys=self._keys,
                expiry=self.expiry,
                group_expiry=self.group_expiry,
                serialize=self._serialized,
                make_decoder=self._decoder,
                capacity=self.get_capacity,
                largest_capacity=max([self.capacity, *capacities]),
                channel_expiry=self._channel_expiry,
                mailbox_bytes=self._mailbox_bytes,
                on_overflow=self._on_overflow,
                shard_to=self._shard_to,
                groups_by_process=self._groups_by_process,
                encrypts=self._encrypts,
            )
        )

    @property
    def client_prefix(self) -> str:
        """What the names of this layer's own channels have before the `!`, in this process."""
        return self._broker.get().id

    async def new_channel(self, prefix: str = "specific") -> str:
        """Return the name of a new channel that this process can receive on.

        Args:
            prefix: Begins the name.

        Raises:
            TypeError: The prefix makes no valid channel name.
        """
        address = f"{prefix}.{self.client_prefix}!"
        # As long as the name that it will be.
        name = f"{address}{self.client_prefix}"
        self.require_valid_channel_name(name if isinstance(prefix, str) else prefix)
        channel = keys.new_channel(address, len(self._connectors))
        self._broker.get().consumers.track_creator(channel)
        return channel

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send a message to a channel.

        Args:
            channel: A general channel (`name`), or a process-specific one (`name.process!local`).
            message: A dict that the serializer can write.

        Raises:
            channels.exceptions.ChannelFull: As many messages wait as the channel's capacity.
            channels.exceptions.MessageTooLarge: Over 512 MB, which Redis can't hold.
            TypeError: No valid channel name, or a message that can't be serialized.
            redis.exceptions.RedisError: The server refused it, or is away for longer than the
                host's `socket_timeout` (5 s). If the connection broke after the message had been
                written, it may have been sent; it is never sent twice.
        """
        options.require_message(message)
        if not isinstance(channel, str):
            self.require_valid_channel_name(channel)
        address, queue, counts_field = self._place_of(channel)
        # Of a message for a general channel only where it binds one to the other.
        if self._encrypts or "!" in channel:
            message = {**message, keys.CHANNELS_FIELD: channel}
        outgoing = OutgoingMessage(
            queue.key,
            queue.bell,
            queue.counts,
            self.get_capacity(channel),
            counts_field,
            self._serialized(message),
        )
        broker, shard = self._broker.get(), self._shard_to(address)
        if await self._batch.send([outgoing], broker.shards[shard]):
            broker.counters.over_capacity += 1
            raise ChannelFull(channel)
        broker.counters.sent += 1

    async def receive(self, channel: str) -> dict[str, Any]:
        """Return the next message of a channel, and wait for it if there is none.

        While the server is away it waits, too. A cancelled call loses no message.

        Raises:
            TypeError: No valid channel name.
            RuntimeError: A process-specific channel of another process, or of another layer.
            redis.exceptions.RedisError: The settings do not fit the server: a wrong password, a
                missing right, a bad certificate.
        """
        broker = self._broker.get()
        # A list, say, could not even be looked up.
        if not isinstance(channel, str) or not broker.receiver_pool.knows(channel):
            self._require_own(channel, broker.id)
        return await broker.receiver_pool.receive(channel)

    async def group_add(self, group: str, channel: str) -> None:
        """Make a channel a member of a group, or renew its membership for `group_expiry` seconds.

        A message sent to the group just before may still reach the channel, if it waits for its
        process.

        Raises:
            TypeError: No valid group or channel name.
            redis.exceptions.RedisError: As for `send`; a repeated call does no harm.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        broker = self._broker.get()
        if keys.process_of(channel) == broker.id:
            await broker.groups.add_local(group, channel, broker.shards)
        else:
            await broker.groups.add_name(group, channel, broker.shards)

    async def group_discard(self, group: str, channel: str) -> None:
        """End a channel's membership, if it has one.

        What was sent to the group before this call still reaches the channel.

        Raises:
            TypeError: No valid group or channel name.
            redis.exceptions.RedisError: As for `group_add`.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        broker = self._broker.get()
        await broker.groups.discard(group, channel, broker.shards)

    async def group_send(
        self, group: str, message: dict[str, Any], *, exclude: Iterable[str] = ()
    ) -> None:
        """Send a message to all members of a group. Members over capacity miss it.

        Args:
            group: The group.
            message: A dict that the serializer can write.
            exclude: Up to 16 channels that do not get it, such as the sender's own.

        Raises:
            TypeError: No valid group or channel name, or a message that can't be serialized.
            ValueError: More than 16 channels to exclude.
            redis.exceptions.RedisError: As for `send`. With several hosts, members on the others
                may have got the message.
        """
        options.require_message(message)
        self.require_valid_group_name(group)
        broker = self._broker.get()
        excluded = (
            options.excluded_channels(exclude, self.require_valid_channel_name) if exclude else ()
        )
        await broker.publisher.publish(group, message, broker.shards, excluded)
        broker.counters.sent += 1

    async def group_count(self, group: str) -> int:
        """Return how many channels are members of a group, in all processes, at this moment.

        A `group_add` or `group_discard` shows at once. A consumer that ended without
        `group_discard` counts for up to `expiry` seconds more, those of a process that was killed
        for up to a minute, a general channel for `group_expiry` seconds. Costs two round trips and
        no more for a thousand members than for one.

        Raises:
            TypeError: No valid group name.
            redis.exceptions.RedisError: As for `group_add`.
        """
        self.require_valid_group_name(group)
        broker = self._broker.get()
        if self._groups_by_process:
            return await broker.groups.count_channels(group, broker.shards)
        return await broker.groups.count_names(group, broker.shards)

    async def group_channels(self, group: str) -> list[str]:
        """Return the channels that `group_count` counts, in no order.

        Raises:
            TypeError: No valid group name.
            redis.exceptions.RedisError: As for `group_add`.
        """
        self.require_valid_group_name(group)
        broker = self._broker.get()
        return await broker.groups.channels(group, broker.shards)

    async def flush(self) -> None:
        """Delete all messages and groups of every layer with this prefix, on all hosts.

        Processes that are running write their memberships again.
        """
        await self._broker.get().flush()

    async def close_pools(self) -> None:
        """Close what the layer has open in the running event loop.

        Needed only where a loop goes on after the layer's use, as in a test; a loop that ends
        closes it by itself. Messages that were taken for nobody go back.
        """
        await self._broker.get().close_connections()

    def _find_place(self, channel: str) -> tuple[str, keys.QueueKeys, int]:
        """Return the address of a channel, the keys of what is sent there, and its number."""
        self.require_valid_channel_name(channel)
        address = keys.non_local(channel)
        return address, self._keys.messages(address), keys.counts_field(channel)

    def _require_own(self, channel: str, broker: str) -> None:
        self.require_valid_channel_name(channel)
        owner = keys.process_of(channel)
        if owner is not None and owner != broker:
            raise _ForeignChannel(
                f"{channel!r} belongs to another process or layer: receive on a name that this "
                "layer's new_channel() returned in this process"
            )

    def _shard_to(self, address: str) -> int:
        """Return the shard to send to: the one that the receiver reads, or any of all it reads."""
        if "!" in address:
            return shard_of(address, len(self._connectors))
        return next(self._turn)
