"""Examine Pub/Sub layers for the commands `doctor` and `stats`."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ._shared.cli.acl import Rights
from ._shared.cli.commands import DoctorCommand, run
from ._shared.cli.doctor import LayerDoctor
from ._shared.cli.findings import Level
from ._shared.cli.servers import MAX_ROWS, ask, serving
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

    def required_rights(self, layer: RedisPubSubChannelLayer) -> list[Rights]:
        """Return the rights that a layer and its features require."""
        s = "S" if layer._sharded_pubsub else ""  # noqa: SLF001 - one package
        required = [
            Rights(f"PING, {s}PUBLISH KEY x, {s}SUBSCRIBE KEY, {s}UNSUBSCRIBE KEY"),
            Rights(PRESENCE_COMMANDS, "presence", Level.NOTE),
        ]
        if "history" in layer.extensions:
            required.append(Rights(HISTORY_COMMANDS, "history", Level.WARNING))
        return required

    async def overview(self, layer: RedisPubSubChannelLayer) -> dict[str, Any]:
        """Return the subscribed channels and groups, and the groups of most processes."""
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
        groups: Counter[str] = Counter()
        channels = foreign = 0
        for topic, processes in subscribers.items():
            name = topic.decode(errors="replace")
            try:
                if name.startswith(group_prefix):
                    group = name.removeprefix(group_prefix)
                    layer.require_valid_group_name(group)
                    groups[group] = processes
                else:
                    layer.require_valid_channel_name(name.removeprefix(layer.prefix))
                    channels += 1
            except TypeError:  # another program's subscription
                foreign += 1
        return {
            "channels": channels,
            "groups": len(groups),
            # Redis does not know the members behind a process's subscription.
            "processes_of_largest_groups": dict(groups.most_common(MAX_ROWS)),
            "subscriptions_of_others": foreign,
        }
