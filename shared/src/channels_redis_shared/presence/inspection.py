"""Commands and counts of presence, for the doctor and `stats`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from . import count_people, list_people
from .keys import PresenceKeys
from .shard import RENEWAL_INTERVAL, SUFFIX

if TYPE_CHECKING:
    from ..transport.commands import Command, Shards

# A longer list would hold up the server for some 10 ms and more, only to count connections.
MAX_LISTED_PEOPLE = 10_000
# The groups whose people are counted at most, and at once.
MAX_COUNTED_GROUPS = 10_000
GROUPS_AT_ONCE = 500


def presence_commands(layer: Any, token: str) -> list[Command]:
    """Return the commands that presence sends, with keys of their own.

    Args:
        layer: The channel layer.
        token: Makes the names of the keys unique.
    """
    head = f"{layer.prefix}$doctor.{token}.presence"
    table, members, leases, number = (f"{head}.{n}" for n in range(4))
    return [
        ("EVAL", "return 1", 1, table),
        ("TIME",),
        ("HSET", table, "a", 1),
        ("HGET", table, "a"),
        ("HGETALL", table),
        ("HKEYS", table),
        ("HLEN", table),
        ("HINCRBY", table, "a", 1),
        ("HDEL", table, "b"),
        ("EXPIRE", table, 60),
        ("SADD", members, "a"),
        ("SMEMBERS", members),
        ("SREM", members, "b"),
        ("ZADD", leases, 1, "a"),
        ("ZSCORE", leases, "a"),
        ("ZRANGEBYSCORE", leases, "-inf", "+inf"),
        ("ZREM", leases, "b"),
        ("SET", number, 1, "EX", 60),
        ("GET", number),
        ("UNLINK", table, members, leases, number),
    ]


async def count_processes(layer: Any, shard: int) -> tuple[int, int, int, int | None] | None:
    """Return the number of living processes of a shard, of dead ones, of groups and of people.

    A dead one has a lease that others have not taken over in time. The people are None if there are
    too many groups, and everything is None if the user may not read it.
    """
    try:
        return await _count_processes(layer, shard)
    except ResponseError:
        return None


async def _count_processes(layer: Any, shard: int) -> tuple[int, int, int, int | None]:
    keys = PresenceKeys(layer.presence_key_head)
    shards: Shards = layer.key_shards

    async def read(*command: Any) -> Any:
        # In a Cluster, all of these keys are in one slot.
        return await shards[shard].execute(command, key=keys.leases, idempotent=True)

    seconds, _ = await read("TIME")
    overdue = (int(seconds) - RENEWAL_INTERVAL) * 1_000_000
    dead = await read("ZRANGEBYSCORE", keys.leases, "-inf", overdue)
    living = await read("ZRANGEBYSCORE", keys.leases, f"({overdue}", "+inf")
    groups: set[bytes] = set()
    for process in (*dead, *living):
        groups.update(await read("SMEMBERS", keys.groups(process.decode(errors="replace"))))
    if len(groups) > MAX_COUNTED_GROUPS:
        return len(living), len(dead), len(groups), None
    people, names = 0, [group.decode(errors="replace") for group in groups]
    for first in range(0, len(names), GROUPS_AT_ONCE):
        counts = (count_people(layer, name) for name in names[first : first + GROUPS_AT_ONCE])
        people += sum(await asyncio.gather(*counts))
    return len(living), len(dead), len(groups), people


async def count_people_told_of(layer: Any, group: str) -> tuple[int | None, int | None]:
    """Return the number of people of whom the members of a group are told, and of connections.

    None if it is no such group, or if the user may not read that; for the connections also if there
    are too many people.
    """
    if not group.endswith(SUFFIX):
        return None, None
    group = group.removesuffix(SUFFIX)
    try:
        if (people := await count_people(layer, group)) > MAX_LISTED_PEOPLE:
            return people, None
        listed = await list_people(layer, group)
    except ResponseError:
        return None, None
    return len(listed), sum(map(len, listed.values()))
