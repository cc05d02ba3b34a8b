"""Keeps what a process has in Redis true while it lives."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from ._shared.sharding import shard_of
from .keys import group_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._shared.mailbox import Mailboxes
    from ._shared.shards import Shards
    from .delivery import Parcel
    from .groups import Groups
    from .memberships import Memberships

# Seconds between two looks. A server that came back empty shall serve its groups within five.
INTERVAL = 2
# Seconds that the canary lives without a look.
CANARY_LIVES = 60
# How many looks between two searches for memberships that have expired: they live for hours.
EXPIRY_LOOKS = 30


async def guard(
    shard: int, shards: Shards, canary: str, memberships: Memberships, groups: Groups
) -> None:
    """Write the virtual channels of one shard again whenever the server has lost its data.

    A failover or FLUSHALL shows in no other way than in a key that is gone: the canary.
    """
    while True:
        virtuals = [
            virtual
            for virtual in memberships.virtuals()
            if shard_of(group_of(virtual), len(shards)) == shard
        ]
        if virtuals:
            # A server that is away is looked at again later.
            with contextlib.suppress(RedisError):
                if not await shards[shard].execute(("EXPIRE", canary, CANARY_LIVES)):
                    await groups.restore(virtuals)
                    await shards[shard].execute(("SET", canary, 1, "EX", CANARY_LIVES))
        await asyncio.sleep(INTERVAL)


async def sweep(
    patience: float,
    mailboxes: Mailboxes[Parcel],
    memberships: Memberships,
    deserted: Callable[[str], object],
) -> None:
    """Drop mailboxes that nobody needs, and memberships of consumers that have gone.

    Args:
        patience: Seconds after which a channel whose `receive` was cancelled counts as gone.
        deserted: Called with each virtual channel that may have nobody behind it any more.
    """
    for look in itertools.count(1):
        await asyncio.sleep(INTERVAL)
        for channel in mailboxes.sweep(patience):
            for virtual in memberships.gone(channel):
                deserted(virtual)
        if look % EXPIRY_LOOKS == 0:
            for virtual in memberships.virtuals():
                # Members whose time is over leave when they are looked at.
                if not memberships.members(virtual):
                    deserted(virtual)
