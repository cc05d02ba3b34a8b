"""Keeps the memberships of groups in Redis, by process."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from . import keys, scripts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._shared.shards import Shards
    from .memberships import Memberships
    from .settings import Settings

# How many leaves wait for a process at the most.
MOST_LEAVES = 10_000


class Groups:
    """The groups of one layer, as this process sees and changes them.

    Args:
        settings: The layer's options.
        shards: Returns the command connections of the running event loop.
        memberships: The local members.
    """

    def __init__(
        self, settings: Settings, shards: Callable[[], Shards], memberships: Memberships
    ) -> None:
        self._settings = settings
        self._keys = settings.keys
        self._shards = shards
        self._memberships = memberships

    async def add_local(self, group: str, channel: str) -> None:
        """Make a channel of this process a member: here first, and then the process in Redis."""
        virtual = keys.virtual_channel(keys.non_local(channel), group)
        self._memberships.join(virtual, channel)
        try:
            score = await self.add_name(group, virtual)
        except BaseException:
            self._memberships.join_failed(virtual, channel)
            raise
        self._memberships.joined(virtual, channel, score)

    async def add_name(self, group: str, name: str) -> bytes:
        """Write a name into the group in Redis; return its score, the time there."""
        key = self._keys.group(group)
        command = scripts.GROUP_ADD.call([key], name, self._settings.group_expiry)
        score: bytes = await self._shards().of(group).execute(command, key=key, repeatable=True)
        return score

    async def discard(self, group: str, channel: str) -> None:
        """End a membership, whoever it belongs to.

        Its process is told on the way that messages take, so that what was sent to the group
        before still arrives.
        """
        key = self._keys.group(group)
        command = scripts.GROUP_DISCARD.call([key], channel)
        at: bytes = await self._shards().of(group).execute(command, key=key, repeatable=True)
        process = keys.process_of(channel)
        if process is None or not keys.is_of_this_layer(process):
            return
        address = keys.non_local(channel)
        beside = self._keys.messages(address)
        leave = f"{group}\0{channel}\0{at.decode()}"
        command = scripts.LEAVE.call(
            [beside.key, beside.bell, beside.leaves],
            self._settings.group_expiry,
            leave,
            MOST_LEAVES,
        )
        # Repeatable, as an equal leave takes the place of the first.
        shard = self._settings.shard_to(address)
        await self._shards()[shard].execute(command, key=beside.key, repeatable=True)

    async def forget(self, virtual: str) -> None:
        """Take a virtual channel out of its group if nobody is behind it."""
        empty, score = self._memberships.forget_if_empty(virtual)
        if not empty:
            return
        group = keys.group_of(virtual)
        with contextlib.suppress(RedisError):  # then it expires, or the next message finds it
            if score is None:
                # A join whose reply was lost. The score is known after one more, of our own.
                score = await self.add_name(group, virtual)
                if virtual in self._memberships:
                    return
            # Only if nobody has joined meanwhile: that would have changed the score.
            key = self._keys.group(group)
            command = scripts.GROUP_FORGET.call([key], virtual, score)
            await self._shards().of(group).execute(command, key=key, repeatable=True)

    async def restore(self, virtuals: Iterable[str]) -> None:
        """Write virtual channels again, to a server that has lost them."""

        async def write(virtual: str) -> None:
            score = await self.add_name(keys.group_of(virtual), virtual)
            self._memberships.written(virtual, score)

        await asyncio.gather(*map(write, virtuals))
