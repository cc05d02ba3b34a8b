"""Keep what Redis knows of a process correct while it lives, and delete a layer's keys."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from ._shared.transport.commands import chunks, shard_of
from .keys import group_of
from .memberships import SCAN_CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ._shared.delivery.consumers import ConsumerTracker
    from ._shared.transport.commands import CommandClient, Shards
    from .keys import Keys
    from .memberships import Memberships
    from .protocol.local_groups import LocalGroups

# Seconds between two checks. A server that lost memberships must serve its groups within five.
CHECK_INTERVAL = 2
# Virtual channels that are looked through for the one that was written last to each node.
MAX_LOOKED = 1000
# Seconds between two searches for memberships to renew, at most.
RENEWAL_INTERVAL = 60
# Keys in one SCAN.
SCAN_COUNT = 1000


class LossDetector:
    """Write the virtual channels of one shard again when its server has lost them.

    Nothing announces that a server has come back empty, or as it was some time ago. But then it
    does not have the virtual channel that was written to it last.

    Args:
        shard: The index of the shard.
        shards: The command connections.
        keys: The layer's keys.
        local_groups: The members in this process.
        memberships: Writes virtual channels.
        on_loss: Called with the virtual channels of a server that has lost data, once they are
            written.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it connects
        self,
        shard: int,
        shards: Shards,
        keys: Keys,
        local_groups: LocalGroups,
        memberships: Memberships,
        on_loss: Callable[[Sequence[str]], object],
    ) -> None:
        self._shard = shard
        self._shards = shards
        self._keys = keys
        self._local_groups = local_groups
        self._memberships = memberships
        self._on_loss = on_loss
        # The servers, or nodes of a Cluster, whose virtual channels have to be written again.
        self._lost: set[object] = set()

    async def watch(self) -> None:
        """Check the server at intervals."""
        while True:
            latest = self._by_node(self._local_groups.latest_writes(MAX_LOOKED))
            await asyncio.gather(*(self._check(node, found[0]) for node, found in latest.items()))
            await asyncio.sleep(CHECK_INTERVAL)

    def restore_all(self) -> None:
        """Write all virtual channels again with the next check."""
        self._lost.update(self._by_node(self._local_groups.latest_writes(MAX_LOOKED)))

    def _by_node(self, virtuals: Iterable[str]) -> dict[object, list[str]]:
        by_node: dict[object, list[str]] = {}
        for virtual in virtuals:
            group = group_of(virtual)
            if shard_of(group, len(self._shards)) == self._shard:
                node = self._shards[self._shard].node(self._keys.group(group))
                by_node.setdefault(node, []).append(virtual)
        return by_node

    async def _check(self, node: object, latest: str) -> None:
        # A server that is away is checked again later.
        with contextlib.suppress(RedisError):
            if node in self._lost or await self._memberships.is_lost(latest, self._shards):
                await self._restore(node)

    async def _restore(self, node: object) -> None:
        self._lost.discard(node)
        try:
            virtuals: list[str] = []
            for chunk in chunks(self._local_groups.virtuals(), SCAN_CHUNK):
                virtuals += self._by_node(chunk).get(node, ())
                await asyncio.sleep(0)
            await self._memberships.restore(virtuals, self._shards)
            self._on_loss(virtuals)
        except BaseException:
            self._lost.add(node)
            raise


async def sweep(drop_ended: Callable[[], object]) -> None:
    """Drop at intervals what ended consumers leave behind."""
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        drop_ended()


async def renew_memberships(
    group_expiry: int,
    consumers: ConsumerTracker,
    local_groups: LocalGroups,
    memberships: Memberships,
    shards: Shards,
) -> None:
    """Renew the memberships of consumers that run, well before they expire, and end the others.

    Args:
        group_expiry: Seconds that a membership lives.
        consumers: The consumers of this process's channels.
        local_groups: The members in this process.
        memberships: Writes virtual channels.
        shards: The command connections.
    """
    while True:
        for chunk in chunks(local_groups.virtuals(), SCAN_CHUNK):
            due = [each for each in chunk if local_groups.renew(each, consumers.is_consumed)]
            await memberships.renew(due, shards)
            await asyncio.sleep(0)
        await asyncio.sleep(min(RENEWAL_INTERVAL, group_expiry / 6))


async def publish_removed_members(memberships: Memberships, shards: Shards) -> None:
    """Remove from Redis, at intervals, members that have gone without `group_discard`."""
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        await memberships.publish_removed_members(shards)


async def flush(shards: Shards, keys: Keys) -> None:
    """Delete all keys of a layer, on all shards."""
    await asyncio.gather(*(_flush(shards[index], keys) for index in range(len(shards))))


async def _flush(commands: CommandClient, keys: Keys) -> None:
    slots = await commands.slots()
    await asyncio.gather(*(_flush_node(commands, slot, keys) for slot in slots))


async def _flush_node(commands: CommandClient, slot: int | None, keys: Keys) -> None:
    cursor, pattern = b"0", keys.pattern()
    while True:
        scan = ("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
        cursor, found = await commands.execute(scan, key=None, slot=slot, idempotent=True)
        names = [name for key in found if keys.owns(name := key.decode(errors="replace"))]
        # By their own slots: a key may have moved since it was found.
        await asyncio.gather(
            *(commands.execute(("UNLINK", name), key=name, idempotent=True) for name in names)
        )
        if int(cursor) == 0:
            return
