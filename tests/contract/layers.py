"""The layers that the contract is checked on, their environments and their servers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from conformance.capabilities import Capability
from conformance.variants import MEMORY, PUBSUB, QUEUE

if TYPE_CHECKING:
    from collections.abc import Mapping

# The options that the tests give to layers, and most layers take.
OPTIONS = frozenset(
    {
        "capacity",
        "channel_capacity",
        "expiry",
        "group_expiry",
        "prefix",
        "symmetric_encryption_keys",
    }
)
IN_MEMORY_OPTIONS = frozenset({"capacity", "channel_capacity", "expiry", "group_expiry"})
OUR_OPTIONS = OPTIONS | {"history", "mailbox_bytes", "on_gap", "on_overflow"}


@dataclass(frozen=True)
class Layer:
    """A channel layer as its users install it.

    Attributes:
        name: Its name in options and results.
        title: Its name at the top of a column.
        backend: Its class, as written in ``CHANNEL_LAYERS``.
        requirements: What is installed into its environment; `{root}` is this repository.
        version_of: The distributions whose versions are told.
        server: What it runs on: a name in `contract.servers.SERVERS`.
        options: The options of the tests that its constructor takes.
        python: The Python that its newest release needs, if an older one would do for the tests.
        unmeasured: The capabilities that the tests can't show, each with the reason.
    """

    name: str
    title: str
    backend: str
    requirements: tuple[str, ...]
    version_of: tuple[str, ...]
    server: str = "redis"
    options: frozenset[str] = OPTIONS
    python: str = ""
    unmeasured: Mapping[Capability, str] = field(default_factory=dict)


LAYERS = {
    layer.name: layer
    for layer in (
        Layer(
            "queue",
            "channels-redis-queue",
            QUEUE,
            ("{root}/packages/channels-redis-queue[cryptography]",),
            ("channels-redis-queue", "redis"),
            options=OUR_OPTIONS,
        ),
        Layer(
            "pubsub",
            "channels-redis-pubsub",
            PUBSUB,
            ("{root}/packages/channels-redis-pubsub[cryptography]",),
            ("channels-redis-pubsub", "redis"),
            options=OUR_OPTIONS,
        ),
        Layer(
            "memory",
            "Channels, in memory",
            MEMORY,
            ("channels",),
            ("channels",),
            server="",
            options=IN_MEMORY_OPTIONS,
            unmeasured={Capability.PROCESSES: "it lives in one process, by design"},
        ),
        Layer(
            "queue-4.3",
            "channels_redis 4.3, core",
            "channels_redis.core.RedisChannelLayer",
            # With redis-py 8 a receive ends after 5 idle seconds.
            ("channels_redis[cryptography]==4.3.0", "redis[hiredis]<8"),
            ("channels-redis", "redis"),
        ),
        Layer(
            "pubsub-4.3",
            "channels_redis 4.3, pubsub",
            "channels_redis.pubsub.RedisPubSubChannelLayer",
            ("channels_redis[cryptography]==4.3.0", "redis[hiredis]<8"),
            ("channels-redis", "redis"),
        ),
        Layer(
            "valkey",
            "channels-valkey, core",
            "channels_valkey.core.ValkeyChannelLayer",
            ("channels-valkey", "cryptography"),
            ("channels-valkey", "valkey"),
        ),
        Layer(
            "valkey-pubsub",
            "channels-valkey, pubsub",
            "channels_valkey.pubsub.ValkeyPubSubChannelLayer",
            ("channels-valkey", "cryptography"),
            ("channels-valkey", "valkey"),
        ),
        Layer(
            "nats",
            "channels-nats",
            "channels_nats.NatsChannelLayer",
            ("channels-nats",),
            ("channels-nats", "nats-py"),
            server="nats",
            options=OPTIONS - {"symmetric_encryption_keys"},
            python="3.13",
        ),
    )
}
