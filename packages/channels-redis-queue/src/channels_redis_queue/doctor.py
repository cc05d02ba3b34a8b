"""What the commands `doctor` and `stats` need to know of the queue layer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from ._shared.cli.servers import ask, servers_of
from ._shared.cli.subject import GroupRow, Need, Overview, Subject
from ._shared.transport.scripts import Script
from .layer import RedisChannelLayer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from ._shared.transport.commands import Command
    from ._shared.transport.connection import Connection
    from ._shared.transport.connector import Connector
    from .keys import Keys

# How many keys are looked at in one command or write.
COUNT = 1000


def connectors(layer: RedisChannelLayer) -> Sequence[Connector]:
    """Return what opens connections to the hosts of a layer."""
    return layer._connectors  # noqa: SLF001 - one package


def needs(layer: RedisChannelLayer, token: str) -> list[Need]:
    """Return the commands that the layer sends, and those that its scripts call.

    Args:
        layer: The layer.
        token: Makes the keys in them ones that nobody else has.
    """
    key, other, members, fields = (f"{layer.prefix}$doctor.{token}.{number}" for number in range(4))
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
    for_flush = ("SCAN", 0, "MATCH", layer.prefix, "COUNT", 1)
    return [*(Need(command) for command in commands), Need(for_flush, "flush")]


async def overview(layer: RedisChannelLayer, most: int) -> Overview:
    """Return the channels and groups that a layer has in Redis.

    Args:
        layer: The layer.
        most: How many groups to look into: those with the most names.
    """
    keys = layer._keys  # noqa: SLF001 - one package
    channels: dict[str, int | None] = {}
    groups: dict[str, int] = {}
    foreign = 0
    for connector in connectors(layer):
        for _, server in await servers_of(connector):
            link = await server.open()
            try:
                async for key, count in _sizes(link, keys):
                    if count is None:
                        foreign += 1
                    elif (group := keys.group_in(key)) is not None:
                        groups[group] = count
                    elif (address := keys.address_in(key)) is not None:
                        channels[address] = (channels.get(address) or 0) + count
            finally:
                await link.close()
    largest = sorted(groups, key=lambda group: (-groups[group], group))[:most]
    members = await asyncio.gather(*(_members(layer, group) for group in largest))
    rows = [
        GroupRow(group, groups[group], count) for group, count in zip(largest, members, strict=True)
    ]
    return Overview(channels, len(groups), rows, foreign)


async def _members(layer: RedisChannelLayer, group: str) -> int | None:
    try:
        return await layer.group_count(group)
    except ResponseError:  # what it has to read is of another type
        return None


async def _sizes(link: Connection, keys: Keys) -> AsyncIterator[tuple[str, int | None]]:
    """Yield each message key and group key of a server, and how many members its set has.

    None stands for keys with the layer's prefix that the layer does not make.
    """
    cursor = b"0"
    while True:
        [reply] = await ask(link, ("SCAN", cursor, "MATCH", keys.pattern(), "COUNT", COUNT))
        if isinstance(reply, Exception):
            raise reply
        cursor, found = reply
        names = [key.decode(errors="replace") for key in found]
        for name in names:
            if not keys.owns(name):
                yield name, None
        names = [name for name in names if keys.address_in(name) or keys.group_in(name)]
        counts = await ask(link, *(("ZCARD", name) for name in names)) if names else []
        for name, count in zip(names, counts, strict=True):
            # An error instead of a number: some other program's key, of another type.
            if not isinstance(count, int):
                yield name, None
            elif count:
                yield name, count
        if int(cursor) == 0:
            return
        await asyncio.sleep(0)


SUBJECT = Subject(
    package="channels_redis_queue",
    layer=RedisChannelLayer,
    stores=True,
    clients="normal",
    connectors=connectors,
    needs=needs,
    overview=overview,
)
