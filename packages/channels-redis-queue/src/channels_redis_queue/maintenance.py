"""Keep what Redis knows of a process correct while it lives, and delete a layer's keys."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from . import scripts
from ._shared.transport.commands import chunks, shard_of
from .groups import SCAN_CHUNK
from .keys import group_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._shared.delivery.consumers import ConsumerTracker
    from ._shared.transport.commands import CommandClient, Shards
    from .groups import Groups
    from .keys import Keys
    from .protocol.local_groups import LocalGroups

# Seconds between two checks. A server that lost memberships must serve its groups within five.
CHECK_INTERVAL = 2
# Seconds that the canary lives without a check.
CANARY_TTL = 60
# Checks between two searches for memberships that have expired: they live for hours.
CHECKS_PER_EXPIRY = 30
# Keys in one SCAN.
SCAN_COUNT = 1000


@dataclass
class _Canary:
    """The canary of a server, or a node of a Cluster, that has groups of the process."""

    key: str
    # Its value as long as the server has lost nothing.
    count: int = 0
    # Virtual channels that were written there since the latest check, and may have been lost.
    unproven: list[str] = field(default_factory=list)
    # True if all virtual channels have to be written again.
    lost: bool = False


class LossDetector:
    """Write the virtual channels of one shard again when its server has lost them.

    A server that comes back empty, or as it was some time ago, shows it in no other way than in a
    key that counts the checks: the canary. Each node of a Cluster has one.

    Args:
        shard: The index of the shard.
        shards: The command connections.
        keys: The layer's keys.
        process: The process's id.
        local_groups: The members in this process.
        groups: Writes virtual channels.
        on_loss: Called with the virtual channels of a server that has lost data, once they are
            written.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it connects
        self,
        shard: int,
        shards: Shards,
        keys: Keys,
        process: str,
        local_groups: LocalGroups,
        groups: Groups,
        on_loss: Callable[[Sequence[str]], object],
    ) -> None:
        self._shard = shard
        self._shards = shards
        self._commands = shards[shard]
        self._keys = keys
        self._local_groups = local_groups
        self._groups = groups
        self._on_loss = on_loss
        # One for each thread, in which one loop runs at a time: synchronous code makes many loops.
        self._name = f"{process}.{threading.get_ident()}"
        self._layout: object = None
        # By node.
        self._canaries: dict[object, _Canary] = {}
        # The latest write of a virtual channel that was seen.
        self._seen = 0

    async def watch(self) -> None:
        """Check the server at intervals."""
        while True:
            await self._find_writes()
            await asyncio.gather(*map(self._check, list(self._canaries)))
            await asyncio.sleep(CHECK_INTERVAL)

    def restore_all(self) -> None:
        """Write all virtual channels again with the next check."""
        for canary in self._canaries.values():
            canary.lost = True

    async def _find_writes(self) -> None:
        """Find out what was written since the latest check, and where."""
        if not len(self._local_groups):
            self._canaries.clear()
        layout = self._commands.layout
        if layout is not self._layout:
            # Slots may have moved to nodes that have no canary.
            self._layout, self._seen = layout, 0
            self._canaries.clear()
        written, self._seen = self._local_groups.written_since(self._seen)
        for node, virtuals in (await self._by_node(written)).items():
            canary = self._canaries.get(node)
            if canary is None:
                key = self._keys.canary(self._name, group_of(virtuals[0]))
                canary = self._canaries[node] = _Canary(key)
            canary.unproven += virtuals

    async def _by_node(self, virtuals: Sequence[str]) -> dict[object, list[str]]:
        by_node: dict[object, list[str]] = {}
        for chunk in chunks(virtuals, SCAN_CHUNK):
            for virtual in chunk:
                group = group_of(virtual)
                if shard_of(group, len(self._shards)) == self._shard:
                    node = self._commands.node(self._keys.group(group))
                    by_node.setdefault(node, []).append(virtual)
            await asyncio.sleep(0)
        return by_node

    async def _check(self, node: object) -> None:
        canary = self._canaries[node]
        # A server that is away is checked again later.
        with contextlib.suppress(RedisError):
            # Before the rest: if the canary is there, so is all that was written by now, however
            # far back the server goes.
            count = canary.count + 1
            command = scripts.SWAP.call([canary.key], count, CANARY_TTL)
            before = await self._commands.execute(command, key=canary.key, idempotent=True)
            # The new count itself is no proof: a reply that was lost may have told of a loss.
            canary.lost |= canary.count > 0 and before != b"%d" % canary.count
            canary.count = count
            if canary.lost:
                await self._restore(node, canary)
            else:
                await self._groups.restore_missing(canary.unproven, self._shards)
            canary.unproven.clear()

    async def _restore(self, node: object, canary: _Canary) -> None:
        canary.lost = False
        try:
            all_virtuals = await self._by_node(self._local_groups.virtuals())
            virtuals = all_virtuals.get(node, ())
            await self._groups.restore(virtuals, self._shards)
            self._on_loss(virtuals)
        except BaseException:
            canary.lost = True
            raise


async def sweep(
    consumers: ConsumerTracker,
    local_groups: LocalGroups,
    groups_empty: Callable[[Sequence[str]], object],
) -> None:
    """Drop what ended consumers leave behind, and memberships that have expired.

    Args:
        consumers: The consumers of this process's channels.
        local_groups: The members in this process.
        groups_empty: Called with virtual channels that have no members.
    """
    for check in itertools.count(1):
        await asyncio.sleep(CHECK_INTERVAL)
        consumers.sweep()
        if check % CHECKS_PER_EXPIRY == 0:
            for chunk in chunks(local_groups.virtuals(), SCAN_CHUNK):
                # Reading the members removes those that have expired.
                groups_empty([virtual for virtual in chunk if not local_groups.members(virtual)])
                await asyncio.sleep(0)


async def publish_removed_members(groups: Groups, shards: Shards) -> None:
    """Tell Redis at intervals which members have gone without `group_discard`."""
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        await groups.publish_removed_members(shards)


async def flush(shards: Shards, keys: Keys) -> None:
    """Delete all keys of a layer, on all shards."""
    await asyncio.gather(*(_flush(shards[index], keys) for index in range(len(shards))))


async def _flush(commands: CommandClient, keys: Keys) -> None:
    nodes = await commands.nodes()
    await asyncio.gather(*(_flush_node(commands, node, keys) for node in nodes))


async def _flush_node(commands: CommandClient, node: CommandClient, keys: Keys) -> None:
    cursor, pattern = b"0", keys.pattern()
    while True:
        scan = ("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
        cursor, found = await node.execute(scan, key=pattern, idempotent=True)
        by_slot: dict[int | None, list[str]] = {}
        for key in found:
            name = key.decode(errors="replace")
            if keys.owns(name):
                by_slot.setdefault(commands.slot(name), []).append(name)
        # Not through the node: a key may have moved since it was found.
        await asyncio.gather(
            *(
                commands.execute(("UNLINK", *names), key=names[0], idempotent=True)
                for names in by_slot.values()
            )
        )
        if int(cursor) == 0:
            return
