"""Examine Pub/Sub layers for the commands `doctor` and `stats`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ._shared.cli.acl import RequiredCommand
from ._shared.cli.app import DoctorCommand, run
from ._shared.cli.doctor import GroupSummary, LayerDoctor, LayerOverview, PresenceSummary
from ._shared.cli.servers import REPLY_TIMEOUT, list_servers, open_connection
from ._shared.history.rights import history_commands
from ._shared.presence.inspection import (
    count_people_told_of,
    count_processes,
    presence_commands,
)
from .layer import RedisPubSubChannelLayer
from .protocol import names

if TYPE_CHECKING:
    from ._shared.transport.connection import Connection

# The meta-package uses these, too.
__all__ = ["DoctorCommand", "PubSubDoctor", "run"]


class PubSubDoctor(LayerDoctor):
    """Examine Pub/Sub layers."""

    package = "channels_redis_pubsub"
    layer_class = RedisPubSubChannelLayer
    stores_messages = False
    client_class = "pubsub"

    def required_commands(
        self, layer: RedisPubSubChannelLayer, token: str
    ) -> list[RequiredCommand]:
        """Return the commands that a layer sends."""
        topics = (
            f"{layer.prefix}$doctor.{token}",
            f"{names.of_groups(layer.prefix)}doctor.{token}",
        )
        sharded = "S" if layer._sharded_pubsub else ""  # noqa: SLF001 - one package
        # In this order: a connection that has subscribed may do nothing else.
        return [
            RequiredCommand(("PING",)),
            *(RequiredCommand((f"{sharded}PUBLISH", topic, "")) for topic in topics),
            *(
                RequiredCommand(one, only_for="presence", optional=True)
                for one in presence_commands(layer, token)
            ),
            *(RequiredCommand(one, only_for="history") for one in history_commands(layer, token)),
            *(RequiredCommand((f"{sharded}SUBSCRIBE", topic)) for topic in topics),
            RequiredCommand((f"{sharded}UNSUBSCRIBE", topics[0])),
        ]

    async def presence(self, layer: RedisPubSubChannelLayer, shard: int) -> PresenceSummary | None:
        """Return a summary of the people on a host; None if the user may not read it."""
        counts = await count_processes(layer, shard)
        return PresenceSummary(*counts) if counts else None

    async def overview(self, layer: RedisPubSubChannelLayer, max_groups: int) -> LayerOverview:
        """Return the subscribed channels and groups, those of most processes first."""
        sharded = "SHARD" if layer._sharded_pubsub else ""  # noqa: SLF001 - one package
        subscribers: Counter[bytes] = Counter()
        for connector in layer._connectors:  # noqa: SLF001 - one package
            for _, server in await list_servers(connector):
                async with open_connection(server) as connection:
                    subscribers.update(await _count_subscribers(connection, layer.prefix, sharded))
        group_prefix = names.of_groups(layer.prefix)
        channels: dict[str, None] = {}
        groups: dict[str, int] = {}
        foreign = 0
        for topic, processes in subscribers.items():
            name = topic.decode(errors="replace")
            try:
                if name.startswith(group_prefix):
                    group = name.removeprefix(group_prefix)
                    layer.require_valid_group_name(group)
                    groups[group] = processes
                else:
                    layer.require_valid_channel_name(name.removeprefix(layer.prefix))
                    channels[name] = None
            except TypeError:  # another program's subscription
                foreign += 1
        largest = sorted(groups, key=lambda group: (-groups[group], group))[:max_groups]
        # Redis does not know the members behind a process's subscription.
        summaries = [
            GroupSummary(group, groups[group], None, *await count_people_told_of(layer, group))
            for group in largest
        ]
        return LayerOverview(channels, len(groups), summaries, foreign)


async def _count_subscribers(connection: Connection, prefix: str, sharded: str) -> dict[bytes, int]:
    """Return the number of subscribed connections of each topic with the prefix on a server."""
    escaped = "".join(f"\\{c}" if c in "*?[]\\^-" else c for c in prefix)
    channels = ("PUBSUB", f"{sharded}CHANNELS", f"{escaped}*")
    [topics] = await connection.exchange([channels], REPLY_TIMEOUT)
    if isinstance(topics, Exception):
        raise topics
    if not topics:
        return {}
    [counts] = await connection.exchange([("PUBSUB", f"{sharded}NUMSUB", *topics)], REPLY_TIMEOUT)
    if isinstance(counts, Exception):
        raise counts
    if isinstance(counts, dict):
        return counts
    return dict(zip(counts[::2], counts[1::2], strict=True))
