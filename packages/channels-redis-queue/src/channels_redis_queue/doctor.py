"""Examine queue layers for the commands `doctor` and `stats`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from ._shared.cli.acl import Rights
from ._shared.cli.commands import DoctorCommand, run
from ._shared.cli.doctor import LayerDoctor
from ._shared.cli.findings import Level
from ._shared.cli.servers import MAX_ROWS, REPLY_TIMEOUT, ask, serving
from ._shared.history.rights import HISTORY_COMMANDS
from ._shared.presence.rights import PRESENCE_COMMANDS
from .layer import RedisChannelLayer

if TYPE_CHECKING:
    from ._shared.transport.connection import Connection

# The meta-package uses these, too.
__all__ = ["DoctorCommand", "QueueDoctor", "run"]

# Keys that a SCAN looks at, and whose sizes are asked for at once.
SCAN_COUNT = 1000
# Those of the layer and of its scripts.
_COMMANDS = (
    "SCRIPT LOAD x, EVALSHA 0 1 KEY, EVAL x 1 KEY, TIME, SET KEY 1, GET KEY, TTL KEY, ZADD KEY 1 a,"
    "EXPIRE KEY 60, EXISTS KEY, RENAME KEY KEY, ZCARD KEY, ZCOUNT KEY 0 1, "
    "ZSCORE KEY a, ZRANGEBYSCORE KEY 0 1, ZREVRANGE KEY 0 0, ZREM KEY a, ZREMRANGEBYSCORE KEY 0 1, "
    "ZPOPMIN KEY, BZPOPMIN KEY 1, SADD KEY a, SREM KEY a, SCARD KEY, SISMEMBER KEY a, "
    "SMEMBERS KEY, UNLINK KEY"
)


class QueueDoctor(LayerDoctor):
    """Examine queue layers."""

    package = "channels_redis_queue"
    layer_class = RedisChannelLayer
    stores_messages = True

    def required_rights(self, layer: RedisChannelLayer) -> list[Rights]:
        """Return the rights that a layer, its scripts and its features require."""
        required = [
            Rights(_COMMANDS),
            Rights("SCAN 0", "flush", Level.WARNING),
            Rights(PRESENCE_COMMANDS, "presence", Level.NOTE),
        ]
        if "history" in layer.extensions:
            required.append(Rights(HISTORY_COMMANDS, "history", Level.WARNING))
        return required

    async def overview(self, layer: RedisChannelLayer) -> dict[str, Any]:
        """Return the channels and groups that a layer has in Redis, and the largest of them."""
        keys = layer._keys  # noqa: SLF001 - one package
        channels: Counter[str] = Counter()
        groups: Counter[str] = Counter()
        foreign = 0
        async for connection in serving(layer):
            names = await _scan(connection, keys.pattern())
            foreign += sum(not keys.owns(name) for name in names)
            sets = [name for name in names if keys.address_in(name) or keys.group_in(name)]
            for name, count in (await _count(connection, sets)).items():
                group = keys.group_in(name)
                if not isinstance(count, int):  # another program's key, of another type
                    foreign += 1
                elif count and group is not None:
                    groups[group] = count
                elif count and (address := keys.address_in(name)) is not None:
                    channels[address] += count
        return {
            "channels": len(channels),
            "waiting_messages": sum(channels.values()),
            "fullest_channels": dict(channels.most_common(MAX_ROWS)),
            "groups": len(groups),
            "largest_groups": {
                group: {"processes": processes, "members": await _count_members(layer, group)}
                for group, processes in groups.most_common(MAX_ROWS)
            },
            "keys_of_others": foreign,
        }


async def _count_members(layer: RedisChannelLayer, group: str) -> int | None:
    try:
        return await layer.group_count(group)
    except ResponseError:  # a key that it reads is of another type
        return None


async def _scan(connection: Connection, pattern: str) -> list[str]:
    """Return each key of a server once."""
    cursor, found = b"0", set()
    while True:
        cursor, keys = await ask(connection, "SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
        found.update(keys)
        if int(cursor) == 0:
            return [key.decode(errors="replace") for key in found]


async def _count(connection: Connection, names: list[str]) -> dict[str, object]:
    """Return the size of each set, or the error of a key that is none."""
    counts: dict[str, object] = {}
    for first in range(0, len(names), SCAN_COUNT):
        some = names[first : first + SCAN_COUNT]
        replies = await connection.exchange([("ZCARD", name) for name in some], REPLY_TIMEOUT)
        counts.update(zip(some, replies, strict=True))
    return counts
