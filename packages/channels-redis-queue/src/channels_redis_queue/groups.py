"""Keeps the memberships of groups in Redis, by process."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import starmap
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from . import keys, scripts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ._shared.shards import Shards
    from .memberships import Memberships
    from .settings import Settings

# How many names one command has: it keeps the server from everybody else.
MOST_NAMES = 1000


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
            score = await self._add_virtual(virtual, [channel])
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

    async def _add_virtual(self, virtual: str, channels: Iterable[str]) -> bytes:
        """Write a virtual channel into its group, with members behind it; return its score."""
        group = keys.group_of(virtual)
        key = self._keys.group(group)
        names = [key, self._keys.members(virtual)]
        command = scripts.GROUP_ADD.call(
            names, virtual, self._settings.group_expiry, *map(keys.local, channels)
        )
        score: bytes = await self._shards().of(group).execute(command, key=key, repeatable=True)
        return score

    async def discard(self, group: str, channel: str) -> None:
        """End a membership, whoever it belongs to.

        Its process is told on the way that messages take, so that what was sent to the group
        before still arrives.
        """
        shards = self._shards()
        key, address = self._keys.group(group), keys.non_local(channel)
        names, members = [channel], [key]
        virtual = keys.virtual_channel(address, group)
        if address != channel:
            names.append(keys.local(channel))
            members.append(self._keys.members(virtual))
        process = keys.process_of(channel)
        told = process is not None and keys.is_of_this_layer(process)
        # A membership that began later stays. So this may be repeated, and come twice or late.
        at: float | bytes | None = None
        if shards.are_one_place:
            at = self._memberships.joined_at(virtual, channel)
        if not told or at is None:
            command = scripts.GROUP_DISCARD.call(members, *names)
            at = await shards.of(group).execute(command, key=key, repeatable=True)
            names, members = [], []
        if told:
            beside = self._keys.messages(address)
            command = scripts.LEAVE.call(
                [beside.key, beside.bell, beside.leaves, *members],
                self._settings.group_expiry,
                f"{group}\0{channel}\0{float(at)!r}",
                *names,
            )
            shard = self._settings.shard_to(address)
            await shards[shard].execute(command, key=beside.key, repeatable=True)

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
            names = [key, self._keys.members(virtual)]
            command = scripts.GROUP_FORGET.call(names, virtual, score)
            await self._shards().of(group).execute(command, key=key, repeatable=True)

    async def restore(self, virtuals: Iterable[str]) -> None:
        """Write virtual channels again, to a server that has lost them."""

        async def write(virtual: str) -> None:
            channels = self._memberships.members(virtual)
            for chunk in _chunks(channels) or [()]:
                score = await self._add_virtual(virtual, chunk)
                self._memberships.written(virtual, score)

        await asyncio.gather(*map(write, virtuals))

    async def publish_departures(self) -> None:
        """Let Redis know which members have gone without `group_discard`."""
        # At once: one host that is away shall not keep the others waiting.
        await asyncio.gather(*starmap(self._departed, self._memberships.take_departed().items()))

    async def _departed(self, virtual: str, channels: set[str]) -> None:
        key, commands = self._keys.members(virtual), self._shards().of(keys.group_of(virtual))
        try:
            for chunk in _chunks(sorted(channels)):
                # Who has come back is asked for last of all: it must not go out again.
                back = set(self._memberships.members(virtual))
                names = [keys.local(channel) for channel in chunk if channel not in back]
                if names:
                    await commands.execute(("SREM", key, *names), key=key, repeatable=True)
        except BaseException as error:
            self._memberships.departed_again(virtual, channels)
            if not isinstance(error, RedisError):
                raise


def _chunks(channels: Sequence[str]) -> list[Sequence[str]]:
    return [channels[start : start + MOST_NAMES] for start in range(0, len(channels), MOST_NAMES)]
