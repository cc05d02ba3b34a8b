"""The layers and ways to set them up that the contract is checked on.

Each layer's plain variant runs all of it. The others run the modules whose code they change: to run
the rest again would prove nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conformance.capabilities import Capability

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True)
class Variant:
    """A layer class and one way to configure it.

    Attributes:
        name: How pytest names it.
        backend: The layer's class, as written in ``CHANNEL_LAYERS``.
        lacks: The capabilities that it does not have, each with the reason.
        modules: The test modules that it is for, without ``test_``; None for all.
        server: The fixture of its servers.
        hosts: Makes the layer's `hosts` of what that fixture returns.
        options: The layer's other arguments.
        shards: How many shards it spreads its channels over.
    """

    name: str
    backend: str
    lacks: Mapping[Capability, str] = field(default_factory=dict)
    modules: frozenset[str] | None = None
    server: str = "redis_server"
    hosts: Callable[[Any], list[Any]] = lambda server: [server.url]
    options: Mapping[str, object] = field(default_factory=dict)
    shards: int = 1

    @property
    def process_capacity(self) -> int:
        """The capacities that a process has for all of its channels together."""
        return 10 if self.backend == QUEUE else 1

    def runs(self, module: str, needed: Sequence[Capability]) -> bool:
        """Return whether this variant is for the tests of a module that need this."""
        is_for_it = self.modules is None or module in self.modules
        return is_for_it and not self.lacks.keys() & set(needed)


# What is sent and received: messages that look different on the wire.
BYTES = frozenset({"channels", "exclude", "messages"})
# Connections of another kind.
TRAFFIC = frozenset({"channels", "groups", "processes"})
# Replies of another kind: those of each command.
REPLIES = TRAFFIC | {"capacity", "exclude", "flush", "receivers"}
# Several servers: which of them has what, and what is to be asked of all.
KEYS = REPLIES | {"expiry", "loops", "overflow"}

MEMORY = "channels.layers.InMemoryChannelLayer"
QUEUE = "channels_redis_queue.RedisChannelLayer"
PUBSUB = "channels_redis_pubsub.RedisPubSubChannelLayer"

IN_MEMORY_LACKS = {
    Capability.CAPACITY_PATTERNS: "never compiles its channel_capacity",
    Capability.CHECKED_MESSAGES: "copies messages instead of writing them, and asserts",
    Capability.CHECKED_READER: "knows of no other process",
    Capability.ENCRYPTION: "writes its messages nowhere",
    Capability.EXACT_NAMES: "Channels' own patterns pass a newline at the end",
    Capability.EXCLUDE: "sends to all members",
    Capability.EXCEPTIONS: "has no such attributes",
    Capability.EXPIRY: "counts expired messages until one receives",
    Capability.GROUP_EXPIRY: "counts in whole seconds, so up to one late",
    Capability.HISTORY: "keeps nothing",
    Capability.LISTENERS_ALL: "a message goes to one receiver",
    Capability.MANY_RECEIVERS: "forgets a channel's queue while others wait on it",
    Capability.ONE_LOOP: "knows of no event loop",
    Capability.OVERFLOW: "refuses what is over its capacity",
    Capability.PROCESSES: "lives in one process",
    Capability.FOREIGN_MEMBERS: "lives in one process",
    Capability.RESERVED_KEYS: "asserts without a message",
    Capability.SERIALIZED: "copies messages instead of writing them",
    Capability.SHARED_CAPACITY: "counts each channel by itself",
}
QUEUE_LACKS = {
    Capability.LISTENERS_ALL: "a message goes to one receiver",
    Capability.NOTHING_BEFORE_JOINING: "a message that waits for a process reaches all who joined",
}
PUBSUB_LACKS = {
    Capability.CAPACITY: "bounds what a reader has not read yet, of which a sender knows nothing",
    Capability.CAPACITY_PATTERNS: "bounds what a reader has not read yet",
    Capability.FOREIGN_MEMBERS: "a membership is a subscription of the channel's own process",
    Capability.GENERAL_MEMBERS: "a channel without listeners has no process",
    Capability.GROUP_EXPIRY: "a membership ends with its channel",
    Capability.LAST_WORDS: "leaving a group outruns what is on its way",
    Capability.LISTENERS_ONE: "a message goes to all who listen",
    Capability.LOOPS: "a channel ends with the event loop that listens to it",
    Capability.NOTHING_BEFORE_JOINING: "what is on its way reaches all who have joined meanwhile",
    Capability.PREFIXED_CHANNELS: "a channel's whole name is the name on the server",
    Capability.QUEUE: "nothing is kept for a listener that comes later",
    Capability.SHARED_CAPACITY: "bounds what a reader has not read yet",
}
JSON_LACKS = {Capability.BYTES: "JSON has no byte strings"}
ACL_LACKS = {Capability.OTHER_PREFIXES: "the documentation's rules give rights to one prefix"}
SHARDED_QUEUE_LACKS = {Capability.ORDER_OF_GENERAL: "each shard has its own queue"}
SHARDED_PUBSUB_LACKS = {
    Capability.ORDER_BETWEEN_DIRECT_AND_GROUP: "a channel and a group may be on different servers",
}


def queue(name: str = "", modules: frozenset[str] | None = None, **more: Any) -> Variant:
    """A way to set up the queue; `lacks` go with those of the layer."""
    lacks = {**QUEUE_LACKS, **more.pop("lacks", {})}
    return Variant(f"queue{name}", QUEUE, lacks, modules, **more)


def pubsub(name: str = "", modules: frozenset[str] | None = None, **more: Any) -> Variant:
    """A way to set up the Pub/Sub layer, likewise."""
    lacks = {**PUBSUB_LACKS, **more.pop("lacks", {})}
    return Variant(f"pubsub{name}", PUBSUB, lacks, modules, **more)


def both(name: str, modules: frozenset[str], **more: Any) -> tuple[Variant, ...]:
    """The same for each of our layers."""
    return queue(name, modules, **more), pubsub(name, modules, **more)


# In the middle of an exchange of keys.
ENCRYPTED = {"symmetric_encryption_keys": ["the new key", "the old key"]}
SHARDS: dict[str, Any] = {
    "server": "redis_shards",
    "hosts": lambda servers: [server.url for server in servers],
    "shards": 3,
}
CLUSTER: dict[str, Any] = {"server": "redis_cluster", "hosts": lambda cluster: [cluster.host]}
SHARDED = {"sharded_pubsub": True}

VARIANTS = (
    Variant("memory", MEMORY, IN_MEMORY_LACKS, server=""),
    queue(),
    pubsub(),
    queue("-3-shards", KEYS, lacks=SHARDED_QUEUE_LACKS, **SHARDS),
    pubsub("-3-shards", KEYS, lacks=SHARDED_PUBSUB_LACKS, **SHARDS),
    queue("-cluster", KEYS | {"worker"}, **CLUSTER),
    pubsub("-cluster", KEYS, **CLUSTER),
    pubsub("-sharded", TRAFFIC | {"flush"}, options=SHARDED),
    pubsub("-sharded-cluster", KEYS, lacks=SHARDED_PUBSUB_LACKS, options=SHARDED, **CLUSTER),
    *both("-encrypted", BYTES, options=ENCRYPTED),
    *both("-json", BYTES, options={"serializer_format": "json"}, lacks=JSON_LACKS),
    *both("-unix", TRAFFIC, hosts=lambda server: [f"unix://{server.unix_socket}"]),
    *both("-protocol-3", REPLIES, hosts=lambda server: [{"address": server.url, "protocol": 3}]),
    # What sends any command.
    *both(
        "-acl",
        TRAFFIC | {"capacity", "flush"},
        server="host_with_rule",
        hosts=lambda host: [host],
        options={"prefix": "asgi"},
        lacks=ACL_LACKS,
    ),
    # What sends much.
    *both("-tls", TRAFFIC | {"overflow"}, server="tls_server", hosts=lambda server: [server.host]),
)
