"""All kinds of data that each layer reads."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_queue import RedisChannelLayer
from fuzz import histories, targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded_server import EmbeddedServer
    from fuzz.targets import Target


class Kind(NamedTuple):
    """A kind of data.

    Attributes:
        name: Its name.
        share: The part of all inputs that it gets.
        target: Makes what feeds them, for a server and a seed.
    """

    name: str
    share: float
    target: Callable[[EmbeddedServer, object], Target]


def kinds(layer_class: object, messages: type[Target], history: type[Target]) -> tuple[Kind, ...]:
    """Return what both layers read."""

    def kind(name: str, share: float, target: type[Target], encoding: str = "msgpack") -> Kind:
        made = partial(target, layer_class=layer_class, encoding=encoding)
        return Kind(name, share, made)

    return (
        kind("messages", 4.0, messages),
        kind("json", 2.0, messages, "json"),
        kind("fernet", 2.0, messages, "fernet"),
        kind("presence", 1.0, targets.PresenceData),
        kind("history", 1.0, history),
        kind("hello", 0.1, targets.Replies),
        kind("sentinel", 0.1, targets.SentinelReplies),
        # Owners that can't be reached take their time.
        kind("cluster", 0.05, targets.ClusterReplies),
    )


QUEUE = partial(RedisChannelLayer, capacity=100_000)
KINDS = {
    "queue": (
        *kinds(QUEUE, targets.QueueMessages, histories.QueueHistory),
        Kind("names", 1.0, partial(targets.QueueNames, layer_class=QUEUE)),
        Kind("wrong types", 0.02, partial(targets.QueueWrongTypes, layer_class=QUEUE)),
    ),
    "pubsub": kinds(RedisPubSubChannelLayer, targets.PubSubMessages, histories.PubSubHistory),
}
