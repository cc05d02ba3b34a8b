"""Keeps what a process has in Redis true while it lives."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from . import scripts
from ._shared.transport.sharding import shard_of
from .groups import LOOK_SLICE, chunks
from .keys import GONE, group_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ._shared.delivery.consumers import ConsumerTracker
    from ._shared.transport.shards import Shards
    from .config import QueueSettings
    from .groups import Groups
    from .keys import Keys
    from .protocol.local_groups import LocalGroups

# Seconds between two looks. A server that lost memberships must serve its groups within five.
INTERVAL = 2
# Seconds that the canary lives without a look.
CANARY_LIVES = 60
# How many looks between two searches for memberships that have expired: they live for hours.
EXPIRY_LOOKS = 30
# Seconds between two signs of life.
BEAT = 20


@dataclass
class _Canary:
    """A server, or a node of a Cluster, that has groups of the process, as a guard knows it."""

    canary: str
    # What the canary holds at least, as long as the server has lost nothing.
    count: int = 0
    # Virtual channels that were written there since the latest look, and perhaps lost again.
    unproven: list[str] = field(default_factory=list)
    # Whether all virtual channels have to be written again.
    lost: bool = False


class LossDetector:
    """Writes the virtual channels of one shard again when its server has lost them.

    A server that comes back empty, or as it was some time ago, says so in no other way than in a
    key that counts the looks: the canary. Each node of a Cluster has one.

    Args:
        shard: The shard.
        shards: The command connections.
        keys: The layer's keys.
        process: The process's id.
        memberships: The local members of groups.
        groups: Writes virtual channels.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it connects
        self,
        shard: int,
        shards: Shards,
        keys: Keys,
        process: str,
        local_groups: LocalGroups,
        groups: Groups,
    ) -> None:
        self._shard = shard
        self._shards = shards
        self._commands = shards[shard]
        self._keys = keys
        self._local_groups = local_groups
        self._groups = groups
        # One for each thread, in which one loop runs at a time: synchronous code makes many loops.
        self._name = f"{process}.{threading.get_ident()}"
        self._layout: object = None
        # By node.
        self._servers: dict[object, _Canary] = {}
        # The latest write of a virtual channel that was seen.
        self._seen = 0

    async def watch(self) -> None:
        """Look again and again."""
        while True:
            await self._see()
            await asyncio.gather(*map(self._look, list(self._servers)))
            await asyncio.sleep(INTERVAL)

    def lose_all(self) -> None:
        """Write all virtual channels again with the next look."""
        for server in self._servers.values():
            server.lost = True

    async def _see(self) -> None:
        """Find out what was written since the latest look, and where."""
        if not len(self._local_groups):
            self._servers.clear()
        layout = self._commands.layout
        if layout is not self._layout:
            # Slots may have moved to nodes that have no canary.
            self._layout, self._seen = layout, 0
            self._servers.clear()
        written, self._seen = self._local_groups.written_since(self._seen)
        for node, virtuals in (await self._by_node(written)).items():
            server = self._servers.get(node)
            if server is None:
                canary = self._keys.canary(self._name, group_of(virtuals[0]))
                server = self._servers[node] = _Canary(canary)
            server.unproven += virtuals

    async def _by_node(self, virtuals: Sequence[str]) -> dict[object, list[str]]:
        by_node: dict[object, list[str]] = {}
        for chunk in chunks(virtuals, LOOK_SLICE):
            for virtual in chunk:
                group = group_of(virtual)
                if shard_of(group, len(self._shards)) == self._shard:
                    node = self._commands.node(self._keys.group(group))
                    by_node.setdefault(node, []).append(virtual)
            await asyncio.sleep(0)
        return by_node

    async def _look(self, node: object) -> None:
        server = self._servers[node]
        # A server that is away is looked at again later.
        with contextlib.suppress(RedisError):
            # Before the rest: what was written by now is there if the canary is, however far back
            # the server goes.
            count = server.count + 1
            command = scripts.SWAP.call([server.canary], count, CANARY_LIVES)
            before = await self._commands.execute(command, key=server.canary, idempotent=True)
            # The new count itself is no proof: a reply that was lost may have told of a loss.
            server.lost |= server.count > 0 and before != b"%d" % server.count
            server.count = count
            if server.lost:
                await self._restore(node, server)
            else:
                await self._groups.restore_missing(server.unproven)
            server.unproven.clear()

    async def _restore(self, node: object, server: _Canary) -> None:
        server.lost = False
        try:
            all_virtuals = await self._by_node(self._local_groups.virtuals())
            await self._groups.restore(all_virtuals.get(node, ()))
        except BaseException:
            server.lost = True
            raise


async def sweep(
    consumers: ConsumerTracker,
    local_groups: LocalGroups,
    deserted: Callable[[Sequence[str]], object],
) -> None:
    """Drop what consumers that have gone leave behind, and memberships that have expired.

    Args:
        consumers: Who consumes the channels of this process.
        memberships: The local members of groups.
        deserted: Called with virtual channels that may have no members any more.
    """
    for look in itertools.count(1):
        await asyncio.sleep(INTERVAL)
        consumers.sweep()
        if look % EXPIRY_LOOKS == 0:
            for chunk in chunks(local_groups.virtuals(), LOOK_SLICE):
                # Members whose time is over leave when they are looked at.
                deserted([virtual for virtual in chunk if not local_groups.members(virtual)])
                await asyncio.sleep(0)


def leave_all(channels: Sequence[str], local_groups: LocalGroups) -> list[str]:
    """End all memberships of channels; return the virtual channels that they were behind."""
    virtuals = (local_groups.gone(channel) for channel in channels)
    return list(dict.fromkeys(itertools.chain.from_iterable(virtuals)))


async def announce(publish: Callable[[], Awaitable[None]]) -> None:
    """Tell Redis again and again which members have gone.

    Args:
        publish: Tells it once; that takes long if a server is away.
    """
    while True:
        await asyncio.sleep(INTERVAL)
        await publish()


async def beat(
    settings: QueueSettings, shards: Shards, local_groups: LocalGroups, buried: Callable[[], object]
) -> None:
    """Give signs of life for each address that has members in groups.

    Args:
        settings: The layer's options.
        shards: The command connections.
        memberships: The local members of groups.
        buried: Called when others took this process for dead, and out of groups.
    """
    due: dict[str, float] = {}
    # Signs whose replies have not come.
    signs: dict[str, str] = {}
    while True:
        now = time.monotonic()
        # Nothing of addresses that have no members any more.
        due = {address: due.get(address, 0.0) for address in local_groups.addresses()}
        for address in [address for address, at in due.items() if at <= now]:
            # Another one each time: a sign that stays the same tells of silence.
            sign = signs.setdefault(address, secrets.token_hex(8))
            key = settings.keys.messages(address).alive
            command = scripts.SWAP.call([key], sign, settings.sign_stays)
            # While the server is away the process counts as silent, and it is.
            with contextlib.suppress(RedisError):
                before = await shards.of(address).execute(command, key=key, idempotent=True)
                due[address] = now + BEAT
                del signs[address]
                # The sign itself: a reply that was lost may have told of it.
                if before in {GONE, sign.encode()}:
                    buried()
        await asyncio.sleep(INTERVAL)
