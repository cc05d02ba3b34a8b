"""Prove that this process lives, and find out which others have died.

A process writes a heartbeat for each of its addresses: the seconds that its key has to live, and
some digits. How many of these seconds are over gives the age of the heartbeat, by the server's
clock. After an outage of the server, or a pause of all machines, every heartbeat is old. So a
process counts as dead only once a second look, half a minute later, has found no newer one.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from . import scripts
from ._shared.clock import monotonic
from ._shared.liveness import SECOND_LOOK_AFTER, Silence
from ._shared.transport.commands import shard_of
from .config import HEARTBEAT_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._shared.transport.commands import Shards
    from .config import QueueSettings
    from .protocol.local_groups import LocalGroups

# Replaces the heartbeat of a process that has ended, or that others have found dead.
GONE = b"gone"
# Seconds between two heartbeats, and until one that failed is tried again.
HEARTBEAT_INTERVAL = 20
RETRY_INTERVAL = 2


class Liveness:
    """The heartbeats of this process's addresses, and looks at those of others.

    Args:
        settings: The layer's options.
    """

    def __init__(self, settings: QueueSettings) -> None:
        self._settings = settings
        self._silence: Silence[str] = Silence(lambda: settings.counters.reconnects)

    @property
    def _timeout(self) -> int:
        """Seconds after which a process is silent: a message lives no longer."""
        return max(HEARTBEAT_TIMEOUT, self._settings.expiry)

    @property
    def _ttl(self) -> int:
        """Seconds that a heartbeat stays, to distinguish a silent process from an unknown one."""
        return max(self._settings.group_expiry, 2 * self._timeout)

    async def beat(
        self, local_groups: LocalGroups, shard: int, shards: Shards, removed: Callable[[], object]
    ) -> None:
        """Send heartbeats for each address that has members in groups.

        Args:
            local_groups: The members.
            shard: The index of the shard. A host that is away delays no other.
            shards: The command connections.
            removed: Called if others have taken this process for dead.
        """
        # By address.
        next_at: dict[str, float] = {}

        async def send(address: str) -> None:
            key, heartbeat = self._key(address), b"%d.%d" % (self._ttl, secrets.randbits(32))
            command = scripts.SWAP.call([key], heartbeat, self._ttl)
            # While the server is away the process counts as silent.
            with contextlib.suppress(RedisError):
                before = await shards[shard].execute(command, key=key, idempotent=True)
                # Its own if the command came twice: the lost reply may have been the mark.
                if before in {GONE, heartbeat}:
                    removed()
                next_at[address] = monotonic() + HEARTBEAT_INTERVAL

        while True:
            now, addresses = monotonic(), local_groups.addresses()
            mine = [one for one in addresses if shard_of(one, len(shards)) == shard]
            # Addresses without members need none any more.
            next_at = {address: next_at.get(address, 0.0) for address in mine}
            await asyncio.gather(*(send(one) for one, at in next_at.items() if at <= now))
            await asyncio.sleep(RETRY_INTERVAL)

    async def mark_gone(self, addresses: Iterable[str], shards: Shards) -> None:
        """Notify those that send to the groups of this process that it has ended."""
        for address in addresses:
            key = self._key(address)
            command = ("SET", key, GONE, "EX", self._ttl)
            await shards.of(address).execute(command, key=key, idempotent=True)

    async def living(self, addresses: Iterable[str], shards: Shards) -> set[str]:
        """Return the addresses whose processes have sent a heartbeat recently."""
        asked = list(addresses)
        looks = await asyncio.gather(*(self._look(address, shards) for address in asked))
        return {one for one, (_, age) in zip(asked, looks, strict=True) if age <= HEARTBEAT_TIMEOUT}

    async def is_dead(self, address: str, shards: Shards) -> bool:
        """Return whether a process has gone, or has been silent in two looks; mark it then."""
        heartbeat, age = await self._look(address, shards)
        if heartbeat is None or heartbeat == GONE:
            # Synchronous code sends no heartbeats.
            return heartbeat is not None
        if age < self._timeout:
            self._silence.forget(address)
            return False
        if not self._silence.is_dead(address, SECOND_LOOK_AFTER):
            return False
        key = self._key(address)
        command = scripts.MARK_GONE.call([key], heartbeat, GONE, self._ttl)
        is_marked = bool(await shards.of(address).execute(command, key=key, idempotent=True))
        self._silence.forget(address)  # from now on the server knows
        return is_marked

    async def _look(self, address: str, shards: Shards) -> tuple[bytes | None, float]:
        """Return the heartbeat of an address, if it has one, and its age in seconds."""
        commands, key = shards.of(address), self._key(address)
        heartbeat, left = await asyncio.gather(
            *(commands.execute((name, key), key=key, idempotent=True) for name in ("GET", "TTL"))
        )
        try:
            return heartbeat, int((heartbeat or GONE).partition(b".")[0]) - left
        except ValueError:  # a mark
            return heartbeat, math.inf

    def _key(self, address: str) -> str:
        return self._settings.keys.messages(address).heartbeat
