"""Commands and counts of presence, for the doctor and `stats`."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError

from . import count_people
from .shard import SUFFIX

# Those that presence sends; KEY stands for a key of the layer.
PRESENCE_COMMANDS = (
    "EVAL x 1 KEY, TIME, HSET KEY a 1, HGET KEY a, HGETALL KEY, HKEYS KEY, HLEN KEY, "
    "HINCRBY KEY a 1, HDEL KEY a, EXPIRE KEY 60, SADD KEY a, SMEMBERS KEY, SREM KEY a, "
    "ZADD KEY 1 a, ZSCORE KEY a, ZRANGEBYSCORE KEY 0 1, ZREM KEY a, SET KEY 1, GET KEY, UNLINK KEY"
)


async def count_people_told_of(layer: Any, group: str) -> int | None:
    """Return the number of people of whom the members of a group are told.

    None if it is no such group, or if the user may not read that.
    """
    if not group.endswith(SUFFIX):
        return None
    try:
        return await count_people(layer, group.removesuffix(SUFFIX))
    except ResponseError:
        return None
