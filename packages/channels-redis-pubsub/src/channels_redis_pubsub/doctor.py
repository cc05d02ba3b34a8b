"""Examine Pub/Sub layers for the commands `doctor` and `stats`."""

from __future__ import annotations

from collections import Counter

from ._shared.cli.acl import RequiredCommand, required
from ._shared.cli.commands import DoctorCommand, run
from ._shared.cli.doctor import GroupSummary, LayerDoctor, LayerOverview
from ._shared.cli.findings import Level
from ._shared.cli.servers import ask, serving
from ._shared.history.rights import HISTORY_COMMANDS
from ._shared.presence.rights import PRESENCE_COMMANDS
from .layer import RedisPubSubChannelLayer
from .protocol import names

# The meta-package uses these, too.
__all__ = ["DoctorCommand", "PubSubDoctor", "run"]


class PubSubDoctor(LayerDoctor):
    """Examine Pub/Sub layers."""

    package = "channels_redis_pubsub"
    layer_class = RedisPubSubChannelLayer
    stores_messages = False

    def required_commands(self, layer: RedisPubSubChannelLayer) -> list[RequiredCommand]:
        """Return the commands that a layer sends."""
        s = "S" if layer._sharded_pubsub else ""  # noqa: SLF001 - one package
        own = f"PING, {s}PUBLISH KEY x, {s}SUBSCRIBE KEY, {s}UNSUBSCRIBE KEY"
        history = "history" in layer.extensions
        return [
            *required(own, layer.prefix),
            *required(PRESENCE_COMMANDS, layer.prefix, "presence", Level.NOTE),
            *(required(HISTORY_COMMANDS, layer.prefix, "history", Level.WARNING) * history),
        ]

    async def overview(self, layer: RedisPubSubChannelLayer, max_groups: int) -> LayerOverview:
        """Return the subscribed channels and groups, those of most processes first."""
        shard = "SHARD" if layer._sharded_pubsub else ""  # noqa: SLF001 - one package
        escaped = "".join(f"\\{c}" if c in "*?[]\\^-" else c for c in layer.prefix)
        subscribers: Counter[bytes] = Counter()
        async for connection in serving(layer):
            if topics := await ask(connection, "PUBSUB", f"{shard}CHANNELS", f"{escaped}*"):
                counts = await ask(connection, "PUBSUB", f"{shard}NUMSUB", *topics)
                if not isinstance(counts, dict):
                    counts = dict(zip(counts[::2], counts[1::2], strict=True))
                subscribers.update(counts)
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
        summaries = [GroupSummary(group, groups[group], None) for group in largest]
        return LayerOverview(channels, len(groups), summaries, foreign)
