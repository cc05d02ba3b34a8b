"""What the commands `doctor` and `stats` need to know of the Pub/Sub layer."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ._shared.cli.servers import ask, servers_of
from ._shared.cli.subject import GroupRow, Need, Overview, Subject
from .layer import RedisPubSubChannelLayer
from .protocol import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._shared.transport.connection import Connection
    from ._shared.transport.connector import Connector


def connectors(layer: RedisPubSubChannelLayer) -> Sequence[Connector]:
    """Return what opens connections to the hosts of a layer."""
    return layer._connectors  # noqa: SLF001 - one package


def needs(layer: RedisPubSubChannelLayer, token: str) -> list[Need]:
    """Return the commands that the layer sends.

    Args:
        layer: The layer.
        token: Makes the Redis channels in them ones that nobody listens on.
    """
    # In this order: a connection that has subscribed may not publish.
    topics = (
        f"{layer.prefix}$doctor.{token}",
        f"{names.of_groups(layer.prefix)}doctor.{token}",
    )
    of_shards = "S" if layer._sharded_pubsub else ""  # noqa: SLF001 - one package
    return [
        Need(("PING",)),
        *(Need((f"{of_shards}PUBLISH", topic, "")) for topic in topics),
        *(Need((f"{of_shards}SUBSCRIBE", topic)) for topic in topics),
        Need((f"{of_shards}UNSUBSCRIBE", topics[0])),
    ]


async def overview(layer: RedisPubSubChannelLayer, most: int) -> Overview:
    """Return the channels and groups that processes listen to.

    Args:
        layer: The layer.
        most: How many groups to look into: those that most processes listen to.
    """
    listeners: Counter[bytes] = Counter()
    for connector in connectors(layer):
        for _, server in await servers_of(connector):
            link = await server.open()
            try:
                of_shards = "SHARD" if layer._sharded_pubsub else ""  # noqa: SLF001
                listeners.update(await _listeners(link, layer.prefix, of_shards))
            finally:
                await link.close()
    group_prefix = names.of_groups(layer.prefix)
    channels: dict[str, None] = {}
    groups: dict[str, int] = {}
    foreign = 0
    for topic, processes in listeners.items():
        name = topic.decode(errors="replace")
        try:
            if name.startswith(group_prefix):
                group = name.removeprefix(group_prefix)
                layer.require_valid_group_name(group)
                groups[group] = processes
            else:
                layer.require_valid_channel_name(name.removeprefix(layer.prefix))
                channels[name] = None
        except TypeError:  # some other program listens to it
            foreign += 1
    largest = sorted(groups, key=lambda group: (-groups[group], group))[:most]
    # Only the processes know who is behind a subscription.
    rows = [GroupRow(group, groups[group], None) for group in largest]
    return Overview(channels, len(groups), rows, foreign)


async def _listeners(link: Connection, prefix: str, of_shards: str) -> dict[bytes, int]:
    """Return how many connections listen to each topic with the prefix on one server."""
    escaped = "".join(f"\\{c}" if c in "*?[]\\^-" else c for c in prefix)
    [topics] = await ask(link, ("PUBSUB", f"{of_shards}CHANNELS", f"{escaped}*"))
    if isinstance(topics, Exception):
        raise topics
    if not topics:
        return {}
    [counts] = await ask(link, ("PUBSUB", f"{of_shards}NUMSUB", *topics))
    if isinstance(counts, Exception):
        raise counts
    if isinstance(counts, dict):
        return counts
    return dict(zip(counts[::2], counts[1::2], strict=True))


SUBJECT = Subject(
    package="channels_redis_pubsub",
    layer=RedisPubSubChannelLayer,
    stores=False,
    clients="pubsub",
    connectors=connectors,
    needs=needs,
    overview=overview,
)
