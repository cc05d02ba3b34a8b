"""Examine queue layers for the commands `doctor` and `stats`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

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
from ._shared.transport.commands import Script
from .layer import RedisChannelLayer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ._shared.transport.commands import Command
    from ._shared.transport.connection import Connection
    from .keys import Keys

# The meta-package uses these, too.
__all__ = ["DoctorCommand", "QueueDoctor", "run"]

# Keys that a SCAN looks at.
SCAN_COUNT = 1000


class QueueDoctor(LayerDoctor):
    """Examine queue layers."""

    package = "channels_redis_queue"
    layer_class = RedisChannelLayer
    stores_messages = True
    client_class = "normal"

    def required_commands(self, layer: RedisChannelLayer, token: str) -> list[RequiredCommand]:
        """Return the commands that a layer and its scripts send."""
        key, other, members, fields = (f"{layer.prefix}$doctor.{token}.{n}" for n in range(4))
        script = Script.of("return 1")
        commands: tuple[Command, ...] = (
            script.load,
            script.call((key,)),
            script.call_with_source((key,)),
            ("TIME",),
            ("SET", other, 1, "EX", 60),
            ("GET", other),
            ("TTL", other),
            ("ZADD", key, 1, "a", 2, "b"),
            ("HINCRBY", fields, "a", 1),
            ("HGET", fields, "a"),
            ("EXPIRE", key, 60),
            ("EXISTS", key),
            ("ZCARD", key),
            ("ZCOUNT", key, "-inf", "+inf"),
            ("ZSCORE", key, "a"),
            ("ZRANGEBYSCORE", key, "-inf", "+inf"),
            ("ZREVRANGE", key, 0, 0),
            ("ZREM", key, "c"),
            ("ZREMRANGEBYSCORE", key, 5, 6),
            ("ZPOPMIN", key, 1),
            ("BZPOPMIN", key, 1),
            ("SADD", members, "a", "b"),
            ("SREM", members, "b"),
            ("SCARD", members),
            ("SISMEMBER", members, "a"),
            ("SMEMBERS", members),
            ("UNLINK", key, other, members, fields),
        )
        scan = RequiredCommand(("SCAN", 0, "MATCH", layer.prefix, "COUNT", 1), only_for="flush")
        presence = presence_commands(layer, token)
        return [
            *map(RequiredCommand, commands),
            scan,
            *(RequiredCommand(one, only_for="presence", optional=True) for one in presence),
            *(RequiredCommand(one, only_for="history") for one in history_commands(layer, token)),
        ]

    async def presence(self, layer: RedisChannelLayer, shard: int) -> PresenceSummary | None:
        """Return a summary of the people on a host; None if the user may not read it."""
        counts = await count_processes(layer, shard)
        return PresenceSummary(*counts) if counts else None

    async def overview(self, layer: RedisChannelLayer, max_groups: int) -> LayerOverview:
        """Return the channels and groups that a layer has in Redis, those with most names first."""
        keys = layer._keys  # noqa: SLF001 - one package
        channels: dict[str, int | None] = {}
        groups: dict[str, int] = {}
        foreign = 0
        for connector in layer._connectors:  # noqa: SLF001 - one package
            for _, server in await list_servers(connector):
                async with open_connection(server) as connection:
                    async for key, count in _scan(connection, keys):
                        if count is None:
                            foreign += 1
                        elif (group := keys.group_in(key)) is not None:
                            groups[group] = count
                        elif (address := keys.address_in(key)) is not None:
                            channels[address] = (channels.get(address) or 0) + count
        largest = sorted(groups, key=lambda group: (-groups[group], group))[:max_groups]
        members = await asyncio.gather(*(_count_members(layer, group) for group in largest))
        summaries = [
            GroupSummary(group, groups[group], count, *await count_people_told_of(layer, group))
            for group, count in zip(largest, members, strict=True)
        ]
        return LayerOverview(channels, len(groups), summaries, foreign)


async def _count_members(layer: RedisChannelLayer, group: str) -> int | None:
    try:
        return await layer.group_count(group)
    except ResponseError:  # a key that it reads is of another type
        return None


async def _scan(connection: Connection, keys: Keys) -> AsyncIterator[tuple[str, int | None]]:
    """Yield each message key and group key of a server, once, with the size of its set.

    The size is None for keys with the layer's prefix that the layer never creates.
    """
    cursor = b"0"
    seen: set[str] = set()
    while True:
        scan = ("SCAN", cursor, "MATCH", keys.pattern(), "COUNT", SCAN_COUNT)
        [reply] = await connection.exchange([scan], REPLY_TIMEOUT)
        if isinstance(reply, Exception):
            raise reply
        cursor, found = reply
        names = list({key.decode(errors="replace") for key in found} - seen)
        seen.update(names)
        for name in names:
            if not keys.owns(name):
                yield name, None
        names = [name for name in names if keys.address_in(name) or keys.group_in(name)]
        sizes = [("ZCARD", name) for name in names]
        counts = await connection.exchange(sizes, REPLY_TIMEOUT) if sizes else []
        for name, count in zip(names, counts, strict=True):
            # An error instead of a number: another program's key, of another type.
            if not isinstance(count, int):
                yield name, None
            elif count:
                yield name, count
        if int(cursor) == 0:
            return
        await asyncio.sleep(0)
