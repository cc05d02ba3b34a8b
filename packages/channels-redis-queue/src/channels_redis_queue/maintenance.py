"""Keep what Redis knows of a process correct while it lives, and delete a layer's keys."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from ._shared.liveness import Canary
from ._shared.transport.commands import chunks, shard_of
from .keys import group_of
from .memberships import SCAN_CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._shared.delivery.consumers import ConsumerTracker
    from ._shared.transport.commands import CommandClient, Shards
    from .keys import Keys
    from .memberships import Memberships
    from .protocol.local_groups import LocalGroups

# Seconds between two checks. A server that lost memberships must serve its groups within five.
CHECK_INTERVAL = 2
# Seconds that the canary lives without a check.
CANARY_TTL = 60
# Seconds between two searches for memberships to renew, at most.
RENEWAL_INTERVAL = 60
# Keys in one SCAN.
SCAN_COUNT = 1000


@dataclass
class _Node:
    """A server, or a node of a Cluster, that has groups of the process."""

    canary: Canary
    # Virtual channels that were written there since the latest check, and may have been lost.
    unproven: list[str] = field(default_factory=list)
    # True if all virtual channels have to be written again.
    lost: bool = False


class LossDetector:
    """Write the virtual channels of one shard again when its server has lost them.

    Args:
        shard: The index of the shard.
        shards: The command connections.
        keys: The layer's keys.
        process: The id that names the canaries.
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
        process: str,
        local_groups: LocalGroups,
        memberships: Memberships,
        on_loss: Callable[[Sequence[str]], object],
    ) -> None:
        self._shard = shard
        self._shards = shards
        self._commands = shards[shard]
        self._keys = keys
        self._local_groups = local_groups
        self._memberships = memberships
        self._on_loss = on_loss
        self._process = process
        self._layout: object = None
        # By client, or node of a Cluster.
        self._nodes: dict[object, _Node] = {}
        # The latest write of a virtual channel that was seen.
        self._seen = 0

    async def watch(self) -> None:
        """Check the server at intervals."""
        while True:
            await self._find_writes()
            await asyncio.gather(*map(self._check, list(self._nodes)))
            await asyncio.sleep(CHECK_INTERVAL)

    def restore_all(self) -> None:
        """Write all virtual channels again with the next check."""
        for node in self._nodes.values():
            node.lost = True

    async def _find_writes(self) -> None:
        """Find out what was written since the latest check, and where."""
        if not len(self._local_groups):
            self._nodes.clear()
        layout = self._commands.layout
        if layout is not self._layout:
            # Slots may have moved to nodes that have no canary.
            self._layout, self._seen = layout, 0
            self._nodes.clear()
        written, self._seen = self._local_groups.written_since(self._seen)
        for name, virtuals in (await self._by_node(written)).items():
            node = self._nodes.get(name)
            if node is None:
                key = self._keys.canary(self._process, group_of(virtuals[0]))
                node = self._nodes[name] = _Node(Canary(key, CANARY_TTL))
            node.unproven += virtuals

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

    async def _check(self, name: object) -> None:
        node = self._nodes[name]
        # A server that is away is checked again later.
        with contextlib.suppress(RedisError):
            # Before the rest: if the canary is there, so is all that was written by now, however
            # far back the server goes.
            node.lost |= await node.canary.look(self._commands)
            if node.lost:
                await self._restore(name, node)
            else:
                await self._memberships.restore_missing(node.unproven, self._shards)
            node.unproven.clear()

    async def _restore(self, name: object, node: _Node) -> None:
        node.lost = False
        try:
            all_virtuals = await self._by_node(self._local_groups.virtuals())
            virtuals = all_virtuals.get(name, ())
            await self._memberships.restore(virtuals, self._shards)
            self._on_loss(virtuals)
        except BaseException:
            node.lost = True
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
    """Tell Redis at intervals which members have gone without `group_discard`."""
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        await memberships.publish_removed_members(shards)


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
