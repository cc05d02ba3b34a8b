"""What the commands `doctor` and `stats` need to know of the queue layer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ._shared.cli.servers import ask, servers_of
from ._shared.cli.subject import GroupRow, Need, Overview, Subject
from ._shared.scripts import Script
from .layer import RedisChannelLayer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from ._shared.commands import Command
    from ._shared.connections import Connector
    from ._shared.links import Link

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
    key, other, members = (f"{layer.prefix}$doctor.{token}.{number}" for number in range(3))
    script = Script.of("return 1")
    commands: tuple[Command, ...] = (
        script.load,
        script.call((key,)),
        script.call_with_source((key,)),
        ("TIME",),
        ("SET", other, 1, "EX", 60),
        ("ZADD", key, 1, "a", 2, "b"),
        ("EXPIRE", key, 60),
        ("EXISTS", key),
        ("ZCARD", key),
        ("ZCOUNT", key, "-inf", "+inf"),
        ("ZSCORE", key, "a"),
        ("ZRANGE", key, 0, -1),
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
        ("UNLINK", key, other, members),
    )
    for_flush = ("SCAN", 0, "MATCH", layer.prefix, "COUNT", 1)
    return [*(Need(command) for command in commands), Need(for_flush, "flush")]


async def overview(layer: RedisChannelLayer, most: int) -> Overview:
    """Return the channels and groups that a layer has in Redis.

    Args:
        layer: The layer.
        most: How many groups to look into: those with the most names.
    """
    channels: dict[str, int | None] = {}
    groups: dict[str, int] = {}
    for connector in connectors(layer):
        for _, server in await servers_of(connector):
            link = await server.open()
            try:
                async for name, count in _sizes(link, layer):
                    group = name.removeprefix(_group_prefix(layer))
                    if group != name:
                        groups[group] = count
                    else:
                        channel = name.removeprefix(layer.prefix)
                        channels[channel] = (channels.get(channel) or 0) + count
            finally:
                await link.close()
    largest = sorted(groups, key=lambda group: (-groups[group], group))[:most]
    members = await asyncio.gather(*map(layer.group_count, largest))
    rows = [
        GroupRow(group, groups[group], count) for group, count in zip(largest, members, strict=True)
    ]
    return Overview(channels, len(groups), rows)


async def _sizes(link: Link, layer: RedisChannelLayer) -> AsyncIterator[tuple[str, int]]:
    """Yield each message key and group key of a server, and how many members its set has."""
    cursor = b"0"
    pattern = layer._keys.pattern()  # noqa: SLF001 - one package
    while True:
        [reply] = await ask(link, ("SCAN", cursor, "MATCH", pattern, "COUNT", COUNT))
        if isinstance(reply, Exception):
            raise reply
        cursor, found = reply
        names = [key.decode(errors="replace") for key in found]
        names = [name for name in names if _is_shown(name, layer)]
        counts = await ask(link, *(("ZCARD", name) for name in names)) if names else []
        for name, count in zip(names, counts, strict=True):
            # Another error than a number: some other program's key, of another type.
            if isinstance(count, int) and count:
                yield name, count
        if int(cursor) == 0:
            return
        await asyncio.sleep(0)


def _is_shown(name: str, layer: RedisChannelLayer) -> bool:
    """Tell whether a key is one of messages or of a group, and none of those beside them."""
    if name.startswith(_group_prefix(layer)):
        return True
    rest = name.removeprefix(layer.prefix)
    # What the layer has for itself has a sign in its name that no channel's name can have.
    return bool(rest) and not {"$", ":", "{"} & set(rest)


def _group_prefix(layer: RedisChannelLayer) -> str:
    return layer._keys.group("")  # noqa: SLF001 - one package


SUBJECT = Subject(
    package="channels_redis_queue",
    layer=RedisChannelLayer,
    stores=True,
    clients="normal",
    connectors=connectors,
    needs=needs,
    overview=overview,
)
