"""Groups in Redis: add, remove and list their members."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from . import keys, scripts
from .config import HEARTBEAT_TIMEOUT
from .protocol.group_cache import unpack_names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from ._shared.transport.commands import Command, Shards
    from .config import QueueSettings
    from .liveness import Liveness
    from .protocol.group_cache import Destination


class Groups:
    """The groups of one layer in Redis.

    Each method takes the command connections to use: a loop that is closing still has its own.

    Args:
        settings: The layer's options.
        liveness: Knows which processes are dead.
    """

    def __init__(self, settings: QueueSettings, liveness: Liveness) -> None:
        self._settings = settings
        self._keys = settings.keys
        self._liveness = liveness

    async def add(self, group: str, name: str, shards: Shards) -> bytes:
        """Write a name into the group in Redis; return its score, the time there."""
        command = scripts.GROUP_ADD.call(
            [self._keys.group(group)], name, self._settings.group_expiry
        )
        score: bytes = await self.execute(group, command, shards)
        return score

    def names(self, group: str, seconds: int, shards: Shards) -> Awaitable[bytes]:
        """Return the names that were added in the last `seconds`, packed as MessagePack."""
        command = scripts.GROUP_MEMBERS.call([self._keys.group(group)], seconds)
        return self.execute(group, command, shards)

    async def discard(self, group: str, channel: str, shards: Shards) -> tuple[float, float]:
        """End a membership in Redis.

        Returns:
            The time by which the membership has to have begun, for a later one stays; and the time
            of the latest message that the channel still gets, by the clock of the server that has
            its messages.
        """
        address = keys.non_local(channel)
        names, arguments = [self._keys.group(group)], [channel]
        if address == channel:
            await self.execute(group, scripts.GROUP_DISCARD.call(names, *arguments), shards)
            return 0.0, 0.0
        virtual = keys.virtual_channel(address, group)
        names.append(self._keys.members(virtual))
        arguments += keys.local(channel), virtual
        queue = self._keys.messages(address)
        if shards.are_one_place:
            names.append(queue.key)
        command = scripts.GROUP_DISCARD.call(names, *arguments)
        at, after = map(float, await self.execute(group, command, shards))
        if not shards.are_one_place:
            seconds, microseconds = await shards.of(address).execute(
                ("TIME",), key=queue.key, idempotent=True
            )
            after = int(seconds) + int(microseconds) / 1_000_000
        return at, after

    async def count_channels(self, group: str, shards: Shards) -> int:
        """Return the number of channels that are members of a group."""
        virtuals, plain = await self._living_names(group, shards)
        sizes = [("SCARD", self._keys.members(virtual)) for virtual in virtuals]
        # A channel that was added both here and by another process counts once.
        known = set(virtuals)
        duplicates = [
            ("SISMEMBER", self._keys.members(virtual), keys.local(name))
            for name in plain
            if (virtual := keys.virtual_of(name, group)) in known
        ]
        counts: list[int] = await asyncio.gather(
            *(self.execute(group, command, shards) for command in (*sizes, *duplicates))
        )
        return len(plain) + sum(counts[: len(sizes)]) - sum(counts[len(sizes) :])

    async def channels(self, group: str, shards: Shards) -> list[str]:
        """Return the channels that are members of a group, in no order."""
        virtuals, plain = await self._living_names(group, shards)
        commands = (("SMEMBERS", self._keys.members(virtual)) for virtual in virtuals)
        found = await asyncio.gather(
            *(self.execute(group, command, shards) for command in commands)
        )
        behind = {
            keys.address_of(virtual) + name.decode(errors="replace")
            for virtual, members in zip(virtuals, found, strict=True)
            for name in members
        }
        return list(behind.union(plain))

    async def _living_names(self, group: str, shards: Shards) -> tuple[list[str], list[str]]:
        """Return the virtual channels of a group whose processes live, and the plain names."""
        # A process that has joined just now lives, and might not have sent a heartbeat yet.
        names, recent = await asyncio.gather(
            *(
                self.names(group, seconds, shards)
                for seconds in (self._settings.group_expiry, HEARTBEAT_TIMEOUT)
            )
        )
        split, young = unpack_names(names), set(unpack_names(recent))
        virtuals = [name for name in split if keys.is_virtual(name)]
        living = await self._liveness.living(
            {keys.non_local(name) for name in virtuals if name not in young}, shards
        )
        return (
            [name for name in virtuals if name in young or keys.non_local(name) in living],
            [name for name in split if not keys.is_virtual(name)],
        )

    async def remove_dead(
        self, group: str, destinations: Iterable[Destination], shards: Shards
    ) -> None:
        """Remove dead processes from a group, given where its messages go."""
        await asyncio.gather(
            *(
                self._remove_if_dead(destination, group, shards)
                for destination in destinations
                if keys.is_in_this_layer(destination.address)
            )
        )

    async def _remove_if_dead(self, destination: Destination, group: str, shards: Shards) -> None:
        key = self._keys.group(group)
        # Sending to a dead process costs little, and it is checked again later.
        with contextlib.suppress(RedisError):
            if not await self._liveness.is_dead(destination.address, shards):
                return
            scores = await asyncio.gather(
                *(self.execute(group, ("ZSCORE", key, name), shards) for name in destination.names)
            )
            # Again: a process that has come back meanwhile writes its names with other scores.
            if not await self._liveness.is_dead(destination.address, shards):
                return
            for name, score in zip(destination.names, scores, strict=True):
                if score is not None:
                    await self.forget(group, name, score, shards)

    async def write(self, virtual: str, channels: Iterable[str], shards: Shards) -> bytes:
        """Write a virtual channel into its group, with members behind it; return its score."""
        group = keys.group_of(virtual)
        command = scripts.GROUP_ADD.call(
            [self._keys.group(group), self._keys.members(virtual)],
            virtual,
            self._settings.group_expiry,
            *map(keys.local, channels),
        )
        score: bytes = await self.execute(group, command, shards)
        return score

    async def forget(self, group: str, name: str, score: bytes, shards: Shards) -> bool:
        """Remove a name from a group, unless its score has changed; return whether it was."""
        names = [self._keys.group(group)]
        if keys.is_virtual(name):
            names.append(self._keys.members(name))
        command = scripts.GROUP_FORGET.call(names, name, score)
        return bool(await self.execute(group, command, shards))

    def execute(self, group: str, command: Command, shards: Shards) -> Awaitable[Any]:
        """Send an idempotent command on a group's key, or one in its slot; return its reply."""
        return shards.of(group).execute(command, key=self._keys.group(group), idempotent=True)
