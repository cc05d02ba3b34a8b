"""Asks Sentinels where the master of the moment is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from redis.asyncio import Sentinel
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from .outages import is_outage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .hosts import Host

Address: TypeAlias = tuple[str, int]


async def find_master(host: Host) -> Address:
    """Return the address of the master, from the first Sentinel that knows it.

    All are asked at once: one that is dead, or silent, costs no time.

    Raises:
        redis.exceptions.ConnectionError: No Sentinel answers, or the master is down.
        redis.exceptions.AuthenticationError: They want another password.
        redis.exceptions.ResponseError: They know no master of that name.
    """
    asked = [asyncio.ensure_future(_ask(host, sentinel)) for sentinel in host.sentinels]
    errors: list[Exception] = []
    try:
        for answer in asyncio.as_completed(asked):
            try:
                return await answer
            except (RedisError, OSError) as error:
                errors.append(error)
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    raise _worst(host, errors)


async def _ask(host: Host, address: Address) -> Address:
    # Not tried again by redis-py: it would wait for seconds between its tries.
    options = {
        "socket_timeout": host.connect_timeout,
        "socket_connect_timeout": host.connect_timeout,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        **host.sentinel_arguments,
    }
    asked = Sentinel([address], sentinel_kwargs=options)
    (client,) = asked.sentinels
    name = host.master_name or ""
    try:
        masters = await client.sentinel_masters()
    finally:
        await client.connection_pool.disconnect()
    if name not in masters:
        raise ResponseError(f"master_name: the Sentinels know no {name!r}, only {sorted(masters)}")
    state = masters[name]
    if not asked.check_master_state(state, name):
        raise RedisConnectionError(f"Sentinel {address[0]}:{address[1]} says that {name!r} is down")
    return state["ip"], int(state["port"])


def _worst(host: Host, errors: Sequence[Exception]) -> Exception:
    """Return the error that says most: one that waiting does not mend, if there is any."""
    for error in errors:
        if not is_outage(error):
            return error
    reasons = "; ".join(dict.fromkeys(map(str, errors)))
    return MasterNotFoundError(f"No {host}: {reasons}")
