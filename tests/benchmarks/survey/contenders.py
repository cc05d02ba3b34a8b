"""The contenders, their requirements, and their layers."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from channels.layers import BaseChannelLayer

# What the works need besides: those with WebSockets, and those in several processes redis-py, too.
SITE = ("redis>=5", "uvicorn>=0.30", "uvloop", "websockets>=14")
# No work here is about overflow: enough for all that waits at once.
CAPACITY = 100_000


@dataclass(frozen=True)
class Contender:
    """Something that carries messages between consumers.

    Args:
        name: What it is called in options and results.
        title: What it is called in tables.
        backend: Its layer class, as written in `CHANNEL_LAYERS`; none of what is no layer.
        requirements: What is installed into its environment; `{root}` is this repository.
        version_of: The distributions that matter to its figures, for their versions.
        server: What it runs on: "redis", "nats", or "" for nothing.
        site: What serves its WebSockets: a module and a class of this package, or a program of
            Node.js in this folder.
        python: The version of its Python, where that matters.
    """

    name: str
    title: str
    backend: str
    requirements: tuple[str, ...]
    version_of: tuple[str, ...]
    server: str = "redis"
    site: str = "site.Site"
    python: str = ""

    @property
    def ours(self) -> bool:
        """True if it comes from this repository."""
        return self.backend.startswith(("channels_redis_queue.", "channels_redis_pubsub."))

    @property
    def work_queue(self) -> bool:
        """True if each message on a general channel goes to one of its readers."""
        return "pubsub" not in self.name

    @property
    def on_node(self) -> bool:
        """True if its sites are programs of Node.js."""
        return self.site.endswith(".js")

    def servers(self, hosts: Sequence[Any]) -> dict[str, Any]:
        """Return the options of its layer that name its servers."""
        return {"servers" if self.server == "nats" else "hosts": list(hosts)}


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender(
            "queue",
            "channels-redis-queue",
            "channels_redis_queue.RedisChannelLayer",
            ("{root}/packages/channels-redis-queue[cryptography]",),
            ("channels-redis-queue", "redis", "hiredis"),
        ),
        Contender(
            "pubsub",
            "channels-redis-pubsub",
            "channels_redis_pubsub.RedisPubSubChannelLayer",
            ("{root}/packages/channels-redis-pubsub[cryptography]",),
            ("channels-redis-pubsub", "redis", "hiredis"),
        ),
        Contender(
            "queue-4.3",
            "channels_redis 4.3.0, core",
            "channels_redis.core.RedisChannelLayer",
            # With redis-py 8 a consumer that waits 5 s for a message dies with a TimeoutError.
            ("channels_redis[cryptography]==4.3.0", "redis[hiredis]<8"),
            ("channels-redis", "redis", "hiredis"),
        ),
        Contender(
            "pubsub-4.3",
            "channels_redis 4.3.0, pubsub",
            "channels_redis.pubsub.RedisPubSubChannelLayer",
            ("channels_redis[cryptography]==4.3.0", "redis[hiredis]"),
            ("channels-redis", "redis", "hiredis"),
        ),
        Contender(
            "nats",
            "channels-nats",
            "channels_nats.NatsChannelLayer",
            ("channels-nats",),
            ("channels-nats", "nats-py"),
            server="nats",
        ),
        Contender(
            "bare-queue",
            "bare redis-py, queue protocol",
            "",
            ("asgiref", "msgpack", "redis[hiredis]"),
            ("redis", "hiredis"),
        ),
        Contender(
            "bare-pubsub",
            "bare redis-py, Pub/Sub",
            "",
            ("asgiref", "msgpack", "redis[hiredis]"),
            ("redis", "hiredis"),
        ),
        Contender(
            "raw-writes",
            "uvloop, raw writes",
            "",
            # site.py, from which it derives, imports the first.
            ("channels", "msgpack", "redis[hiredis]"),
            ("redis", "hiredis", "uvloop"),
            site="raw.RawSite",
        ),
        *(
            Contender(name, title, "", ("asgiref",), ("node", *packages), site="peers.js")
            for name, title, packages in (
                (
                    "socket.io-streams",
                    "Socket.IO, Redis Streams",
                    ("socket.io", "@socket.io/redis-streams-adapter", "ioredis"),
                ),
                (
                    "socket.io-pubsub",
                    "Socket.IO, Redis Pub/Sub",
                    ("socket.io", "@socket.io/redis-adapter", "ioredis"),
                ),
                ("ws", "ws and ioredis", ("ws", "ioredis")),
            )
        ),
    )
}
CONTENDERS |= {
    name: replace(CONTENDERS[layer], name=name, python="3.13")
    for layer, name in (("queue", "queue-python-3.13"), ("pubsub", "pubsub-python-3.13"))
}


def make_layer(
    contender: Contender, hosts: Sequence[Any], options: Mapping[str, Any]
) -> BaseChannelLayer:
    """Construct the contender's layer for these servers, as CHANNEL_LAYERS would."""
    module, _, name = contender.backend.rpartition(".")
    arguments = {"capacity": CAPACITY, **options, **contender.servers(hosts)}
    return getattr(importlib.import_module(module), name)(**arguments)
