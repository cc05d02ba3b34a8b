"""Tells who is in a group, from what all processes have written about it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from . import keys, scripts
from .config import ALIVE_FOR
from .sending import MembersQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._shared.transport.shards import Shards
    from .config import QueueSettings


class GroupDirectory:
    """Looks at groups, on behalf of one layer in one process.

    Args:
        settings: The layer's options.
        shards: Returns the command connections of the running event loop.
    """

    def __init__(self, settings: QueueSettings, shards: Callable[[], Shards]) -> None:
        self._settings = settings
        self._keys = settings.keys
        self._shards = shards

    async def names(self, group: str) -> int:
        """Return how many names a group has in Redis, whoever is behind them."""
        key = self._keys.group(group)
        command = scripts.GROUP_SIZE.call([key], self._settings.group_expiry)
        return int(await _read(self._shards(), group, key, command))

    async def count(self, group: str) -> int:
        """Return how many channels are members of a group."""
        shards = self._shards()
        virtuals, plain = await self._look(group, shards)
        behind = [("SCARD", key) for key in map(self._keys.members, virtuals)]
        # A channel that was added here, and by another process as well, counts once.
        twice = [
            ("SISMEMBER", self._keys.members(virtual), keys.local(name))
            for name, virtual in self._twofold(group, plain, virtuals)
        ]
        counts: list[int] = await asyncio.gather(
            *(_read(shards, group, command[1], command) for command in (*behind, *twice))
        )
        return len(plain) + sum(counts[: len(behind)]) - sum(counts[len(behind) :])

    async def channels(self, group: str) -> list[str]:
        """Return the channels that are members of a group, in no order."""
        shards = self._shards()
        virtuals, plain = await self._look(group, shards)
        found = await asyncio.gather(
            *(
                _read(shards, group, key, ("SMEMBERS", key))
                for key in map(self._keys.members, virtuals)
            )
        )
        channels = dict.fromkeys(plain)
        for virtual, members in zip(virtuals, found, strict=True):
            address = keys.address_of(virtual)
            channels.update(
                dict.fromkeys(address + name.decode(errors="replace") for name in members)
            )
        return list(channels)

    async def _look(self, group: str, shards: Shards) -> tuple[list[str], list[str]]:
        """Return the virtual channels whose processes live, and the plain names, of a group."""
        commands, key = shards.of(group), self._keys.group(group)
        # A process that has joined just now lives, and may not have said so yet.
        names, fresh = await asyncio.gather(
            *(
                MembersQuery(key, seconds).read(commands)
                for seconds in (self._settings.group_expiry, ALIVE_FOR)
            )
        )
        split, young = _split(names), set(_split(fresh))
        virtuals = [name for name in split if keys.is_virtual(name)]
        living = await self._living(
            {keys.non_local(name) for name in virtuals if name not in young}, shards
        )
        return (
            [name for name in virtuals if name in young or keys.non_local(name) in living],
            [name for name in split if not keys.is_virtual(name)],
        )

    async def _living(self, addresses: Iterable[str], shards: Shards) -> set[str]:
        """Return those of the addresses whose processes have given a sign of life of late."""
        asked = list(addresses)
        alive = [self._keys.messages(address).alive for address in asked]
        left: list[int] = await asyncio.gather(
            *(
                _read(shards, address, key, ("TTL", key))
                for address, key in zip(asked, alive, strict=True)
            )
        )
        fresh = self._settings.fresh_sign
        return {address for address, ttl in zip(asked, left, strict=True) if ttl >= fresh}

    def _twofold(
        self, group: str, plain: Iterable[str], virtuals: Iterable[str]
    ) -> list[tuple[str, str]]:
        """Return the plain names that may be behind a virtual channel too, each with that."""
        known = set(virtuals)
        pairs = ((name, keys.virtual_channel(keys.non_local(name), group)) for name in plain)
        return [(name, virtual) for name, virtual in pairs if virtual in known]


async def _read(shards: Shards, name: str, key: str, command: Any) -> Any:
    """Carry out a command that only reads, on the shard of a name."""
    return await shards.of(name).execute(command, key=key, idempotent=True)


def _split(names: bytes) -> list[str]:
    return names.decode(errors="replace").split(" ") if names else []
