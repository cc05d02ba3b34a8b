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

    from embedded_server import EmbeddedServer

Config = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """A layer class and one way to configure it.

    Attributes:
        name: How pytest names it.
        backend: The layer's class, as written in ``CHANNEL_LAYERS``.
        config: Makes the constructor's arguments from the servers: as many as `shards`.
        shards: How many servers it spreads its channels over.
        cluster: Whether the servers are the nodes of a Redis Cluster, which counts as one shard.
        lacks: The capabilities that it does not have, each with the reason.
        modules: The test modules that it is for, without ``test_``; None for all.
        server: The fixture of its server, if not those that all tests share.
    """

    name: str
    backend: str
    config: Callable[[Sequence[EmbeddedServer]], Config]
    shards: int = 1
    cluster: bool = False
    lacks: Mapping[Capability, str] = field(default_factory=dict)
    modules: frozenset[str] | None = None
    server: str = ""

    @property
    def process_capacity(self) -> int:
        """The capacities that a process has for all of its channels together."""
        return 10 if self.backend == QUEUE else 1

    def runs(self, module: str, needed: Sequence[Capability]) -> bool:
        """Return whether this variant is for the tests of a module that need this."""
        is_for_it = self.modules is None or module in self.modules
        return is_for_it and not self.lacks.keys() & set(needed)


def one_host(servers: Sequence[EmbeddedServer]) -> Config:
    """One server."""
    return {"hosts": [servers[0].url]}


def many_hosts(servers: Sequence[EmbeddedServer]) -> Config:
    """All servers, as shards."""
    return {"hosts": [server.url for server in servers]}


def rotated_keys(servers: Sequence[EmbeddedServer]) -> Config:
    """Encryption, in the middle of an exchange of keys."""
    return {**one_host(servers), "symmetric_encryption_keys": ["the new key", "the old key"]}


def as_json(servers: Sequence[EmbeddedServer]) -> Config:
    """Messages written as JSON."""
    return {**one_host(servers), "serializer_format": "json"}


def unix_socket(servers: Sequence[EmbeddedServer]) -> Config:
    """One server, reached by its UNIX socket."""
    return {"hosts": [f"unix://{servers[0].unix_socket}"]}


def protocol_3(servers: Sequence[EmbeddedServer]) -> Config:
    """One server, spoken to in RESP3."""
    return {"hosts": [{"address": servers[0].url, "protocol": 3}]}


def one_cluster(servers: Sequence[EmbeddedServer]) -> Config:
    """All servers, as nodes of a Redis Cluster."""
    return {"hosts": [{"cluster": [("127.0.0.1", server.port) for server in servers]}]}


def sharded(servers: Sequence[EmbeddedServer]) -> Config:
    """One server, by sharded Pub/Sub."""
    return {**one_host(servers), "sharded_pubsub": True}


def sharded_cluster(servers: Sequence[EmbeddedServer]) -> Config:
    """All servers, as nodes of a Redis Cluster, by sharded Pub/Sub."""
    return {**one_cluster(servers), "sharded_pubsub": True}


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
SHARDED_QUEUE_LACKS = {
    **QUEUE_LACKS,
    Capability.ORDER_OF_GENERAL: "each shard has its own queue",
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
SHARDED_PUBSUB_LACKS = {
    **PUBSUB_LACKS,
    Capability.ORDER_BETWEEN_DIRECT_AND_GROUP: "a channel and a group may be on different servers",
}
JSON_LACKS = {Capability.BYTES: "JSON has no byte strings"}

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

VARIANTS = (
    Variant("memory", MEMORY, lambda _servers: {}, lacks=IN_MEMORY_LACKS),
    Variant("queue", QUEUE, one_host, lacks=QUEUE_LACKS),
    Variant("queue-3-shards", QUEUE, many_hosts, 3, lacks=SHARDED_QUEUE_LACKS, modules=KEYS),
    Variant("queue-encrypted", QUEUE, rotated_keys, lacks=QUEUE_LACKS, modules=BYTES),
    Variant("queue-json", QUEUE, as_json, lacks={**QUEUE_LACKS, **JSON_LACKS}, modules=BYTES),
    Variant("queue-unix", QUEUE, unix_socket, lacks=QUEUE_LACKS, modules=TRAFFIC),
    Variant("queue-protocol-3", QUEUE, protocol_3, lacks=QUEUE_LACKS, modules=REPLIES),
    Variant(
        "queue-cluster",
        QUEUE,
        one_cluster,
        cluster=True,
        lacks=QUEUE_LACKS,
        modules=KEYS | {"worker"},
    ),
    Variant("pubsub", PUBSUB, one_host, lacks=PUBSUB_LACKS),
    Variant("pubsub-3-shards", PUBSUB, many_hosts, 3, lacks=SHARDED_PUBSUB_LACKS, modules=KEYS),
    Variant("pubsub-encrypted", PUBSUB, rotated_keys, lacks=PUBSUB_LACKS, modules=BYTES),
    Variant("pubsub-json", PUBSUB, as_json, lacks={**PUBSUB_LACKS, **JSON_LACKS}, modules=BYTES),
    Variant("pubsub-unix", PUBSUB, unix_socket, lacks=PUBSUB_LACKS, modules=TRAFFIC),
    Variant("pubsub-protocol-3", PUBSUB, protocol_3, lacks=PUBSUB_LACKS, modules=REPLIES),
    Variant("pubsub-cluster", PUBSUB, one_cluster, cluster=True, lacks=PUBSUB_LACKS, modules=KEYS),
    Variant("pubsub-sharded", PUBSUB, sharded, lacks=PUBSUB_LACKS, modules=TRAFFIC | {"flush"}),
    Variant(
        "pubsub-sharded-cluster",
        PUBSUB,
        sharded_cluster,
        cluster=True,
        lacks=SHARDED_PUBSUB_LACKS,
        modules=KEYS,
    ),
)
