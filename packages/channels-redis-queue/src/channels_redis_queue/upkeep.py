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
    from collections.abc import Awaitable, Callable

    from ._shared.mailbox import Mailboxes
    from ._shared.shards import Shards
    from .delivery import Parcel
    from .keys import Keys
    from .memberships import Memberships

# Seconds between two looks. A server that came back empty shall serve its groups within five.
INTERVAL = 2
# Seconds that the canary lives without a look.
CANARY_LIVES = 60
# How many looks between two searches for memberships that have expired: they live for hours.
EXPIRY_LOOKS = 30
# Seconds between two signs of life, and that each of them counts.
BEAT = 20
ALIVE_FOR = 60


class Guard:
    """Writes the virtual channels of one shard again whenever a server has lost its data.

    A failover or FLUSHALL shows in no other way than in a key that is gone: the canary. Each node
    of a Cluster that has any of the groups has one.

    Args:
        shard: The shard.
        shards: The command connections.
        keys: The layer's keys.
        process: The process's id.
        memberships: The local members of groups.
    """

    def __init__(
        self, shard: int, shards: Shards, keys: Keys, process: str, memberships: Memberships
    ) -> None:
        self._shard = shard
        self._shards = shards
        self._commands = shards[shard]
        self._keys = keys
        self._process = process
        self._memberships = memberships
        # Those written, by node: what takes the place of a lost node has none.
        self._canaries: dict[object, str] = {}

    async def watch(self, restore: Callable[[list[str]], Awaitable[None]]) -> None:
        """Look again and again.

        Args:
            restore: Writes virtual channels.
        """
        while True:
            by_node = self._virtuals_by_node()
            for node in self._canaries.keys() - by_node.keys():
                del self._canaries[node]
            await asyncio.gather(
                *(self._look(node, virtuals, restore) for node, virtuals in by_node.items())
            )
            await asyncio.sleep(INTERVAL)

    async def _look(
        self,
        node: object,
        virtuals: list[str],
        restore: Callable[[list[str]], Awaitable[None]],
    ) -> None:
        canary = self._canaries.pop(node, "")
        # A server that is away is looked at again later.
        with contextlib.suppress(RedisError):
            if canary and self._commands.node(canary) == node:
                if await self._commands.execute(("EXPIRE", canary, CANARY_LIVES), key=canary):
                    self._canaries[node] = canary
                    return
            else:
                canary = self._keys.canary(self._process, group_of(virtuals[0]))
            # First of all: it must not outlive a loss while the rest is being written.
            await self._commands.execute(("SET", canary, 1, "EX", CANARY_LIVES), key=canary)
            await restore(virtuals)
            self._canaries[node] = canary
            # With the rest, the sign of life may have been lost.
            await sign(self._keys.alive(self._process), self._shards)

    def _virtuals_by_node(self) -> dict[object, list[str]]:
        by_node: dict[object, list[str]] = {}
        for virtual in self._memberships.virtuals():
            group = group_of(virtual)
            if shard_of(group, len(self._shards)) == self._shard:
                node = self._commands.node(self._keys.group(group))
                by_node.setdefault(node, []).append(virtual)
        return by_node


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


async def announce(publish: Callable[[], Awaitable[None]]) -> None:
    """Tell Redis again and again who has gone.

    Args:
        publish: Tells it once; that takes long if a server is away.
    """
    while True:
        await asyncio.sleep(INTERVAL)
        await publish()


async def beat(key: str, shards: Shards, memberships: Memberships) -> None:
    """Keep the key that tells other processes that this one lives, while it has members."""
    while True:
        if memberships.virtuals():
            await sign(key, shards)
        await asyncio.sleep(BEAT)


async def sign(key: str, shards: Shards) -> None:
    """Write the key that tells that this process lives."""
    with contextlib.suppress(RedisError):  # then its members count as gone, and they are
        command = ("SET", key, 1, "EX", ALIVE_FOR)
        await shards.of(key).execute(command, key=key, repeatable=True)
