"""Keeps the memberships of groups in Redis, by process."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from . import keys, scripts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from ._shared.transport.commands import Command
    from ._shared.transport.shards import Shards
    from .config import QueueSettings
    from .protocol.local_groups import LocalGroups

# How many names one command has: the server serves no other client meanwhile.
MOST_NAMES = 200
# How many virtual channels are worked on at a time, which holds the event loop for a few
# milliseconds; and how many are looked through.
SLICE = 50
LOOK_SLICE = 500


class Groups:
    """The groups of one layer, as this process sees and changes them.

    Args:
        settings: The layer's options.
        shards: Returns the command connections of the running event loop.
        memberships: The local members.
    """

    def __init__(
        self, settings: QueueSettings, shards: Callable[[], Shards], local_groups: LocalGroups
    ) -> None:
        self._settings = settings
        self._keys = settings.keys
        self._shards = shards
        self._local_groups = local_groups

    async def add_local(self, group: str, channel: str) -> None:
        """Make a channel of this process a member: here first, and then in Redis."""
        virtual = self._settings.virtual_channel(channel, group)
        self._local_groups.join(virtual, channel)
        try:
            score = await self._write(virtual, [channel])
        except BaseException:
            self._local_groups.join_failed(virtual, channel)
            raise
        self._local_groups.joined(virtual, channel, score)

    async def add_name(self, group: str, name: str) -> bytes:
        """Write a name into the group in Redis; return its score, the time there."""
        key = self._keys.group(group)
        command = scripts.GROUP_ADD.call([key], name, self._settings.group_expiry)
        score: bytes = await self._shards().of(group).execute(command, key=key, idempotent=True)
        return score

    async def _write(self, virtual: str, channels: Iterable[str]) -> bytes:
        """Write a virtual channel into its group, with members behind it; return its score."""
        group = keys.group_of(virtual)
        if not self._settings.groups_by_process:
            return await self.add_name(group, keys.address_of(virtual))
        key = self._keys.group(group)
        command = scripts.GROUP_ADD.call(
            [key, self._keys.members(virtual)],
            virtual,
            self._settings.group_expiry,
            *map(keys.local, channels),
        )
        score: bytes = await self._execute(group, command)
        return score

    async def _execute(self, group: str, command: Command) -> Any:
        """Carry out a command on a group's key, or one that is with it; it may be repeated."""
        commands = self._shards().of(group)
        return await commands.execute(command, key=self._keys.group(group), idempotent=True)

    async def discard(self, group: str, channel: str) -> None:
        """End a membership, whoever it belongs to.

        Its process is told on the way that messages take, so that what was sent to the group
        before still arrives.
        """
        shards = self._shards()
        key, address = self._keys.group(group), keys.non_local(channel)
        names, members = [channel], [key]
        virtual = self._settings.virtual_channel(channel, group)
        if address != channel:
            names.append(keys.local(channel))
            members.append(self._keys.members(keys.virtual_channel(address, group)))
        told = keys.is_in_this_layer(channel)
        # A membership that began later stays. So this may be repeated, and come twice or late.
        at: float | bytes | None = None
        if shards.are_one_place:
            at = self._local_groups.joined_at(virtual, channel)
        if not told or at is None:
            command = scripts.GROUP_DISCARD.call(members, *names)
            at = await shards.of(group).execute(command, key=key, idempotent=True)
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
            await shards[shard].execute(command, key=beside.key, idempotent=True)

    async def forget(self, virtuals: Iterable[str]) -> None:
        """Take virtual channels out of their groups if they have no members any more."""
        await self._each(virtuals, self._forget)

    async def _forget(self, virtual: str) -> None:
        empty, score = self._local_groups.emptied(virtual)
        if not empty:
            return
        with contextlib.suppress(RedisError):  # then it expires, or the next message finds it
            if score is None:
                # A join whose reply was lost. The score is known after one more, of our own.
                score = await self._write(virtual, ())
                if self._local_groups.members(virtual):
                    return
            # Only if it has not been joined meanwhile: that would have changed the score.
            await self._remove(virtual, score)
        # Not before: should this be cancelled, as an event loop ends, it is done again.
        self._local_groups.forget_if_empty(virtual)

    async def _remove(self, virtual: str, score: bytes) -> None:
        """Remove a virtual channel's name, unless it was written again meanwhile."""
        group = keys.group_of(virtual)
        name, names = virtual, [self._keys.group(group)]
        if self._settings.groups_by_process:
            names.append(self._keys.members(virtual))
        else:
            name = keys.address_of(virtual)
        await self._execute(group, scripts.GROUP_FORGET.call(names, name, score))

    async def restore(self, virtuals: Iterable[str]) -> None:
        """Write virtual channels again, with exactly the members that they have.

        Raises:
            redis.exceptions.RedisError: Some could not be written.
        """
        await self._each(virtuals, self._restore)

    async def _restore(self, virtual: str) -> None:
        if self._settings.groups_by_process:
            # Those who left in what the server has lost may be back there.
            behind = self._keys.members(virtual)
            await self._execute(keys.group_of(virtual), ("UNLINK", behind))
        for chunk in chunks(self._local_groups.members(virtual), MOST_NAMES):
            score = await self._write(virtual, chunk)
            if not self._local_groups.members(virtual):
                # Its last member has left meanwhile, and what was removed had another score.
                await self._remove(virtual, score)
                break
            self._local_groups.written(virtual, score)

    async def restore_missing(self, virtuals: Iterable[str]) -> None:
        """Write those virtual channels again that the server does not have as written last.

        Raises:
            redis.exceptions.RedisError: Not all could be looked at, or written.
        """
        # Names of single members may have been removed by `channels_redis` processes, which tell
        # only Redis.
        if self._settings.groups_by_process:
            await self._each(virtuals, self._restore_missing)

    async def _restore_missing(self, virtual: str) -> None:
        group, written = keys.group_of(virtual), self._local_groups.score(virtual)
        if written is None:
            return
        found = await self._execute(group, ("ZSCORE", self._keys.group(group), virtual))
        if found is None or float(found) < float(written):
            await self._restore(virtual)

    async def publish_departures(self) -> None:
        """Tell Redis which members have gone without `group_discard`."""
        departed = self._local_groups.take_departed()
        if self._settings.groups_by_process:
            await self._each(departed, lambda virtual: self._departed(virtual, departed[virtual]))

    async def _departed(self, virtual: str, channels: set[str]) -> None:
        key, group = self._keys.members(virtual), keys.group_of(virtual)
        try:
            for chunk in chunks(sorted(channels), MOST_NAMES):
                # Who has come back is asked for last of all: it must not go out again.
                back = set(self._local_groups.members(virtual))
                names = [keys.local(channel) for channel in chunk if channel not in back]
                if names:
                    await self._execute(group, ("SREM", key, *names))
        except BaseException as error:
            self._local_groups.departed_again(virtual, channels)
            if not isinstance(error, RedisError):
                raise

    async def _each(self, virtuals: Iterable[str], work: Callable[[str], Awaitable[None]]) -> None:
        """Work on virtual channels in slices that do not hold the event loop for long."""
        # Each server has slices of its own: one that is away must not keep the others waiting.
        places: dict[object, list[str]] = {}
        shards = self._shards()
        for chunk in chunks(list(virtuals), LOOK_SLICE):
            for virtual in chunk:
                group = keys.group_of(virtual)
                commands = shards.of(group)
                place = commands, commands.node(self._keys.group(group))
                places.setdefault(place, []).append(virtual)
            await asyncio.sleep(0)
        await asyncio.gather(*(_in_slices(place, work) for place in places.values()))


async def _in_slices(virtuals: Sequence[str], work: Callable[[str], Awaitable[None]]) -> None:
    for chunk in chunks(virtuals, SLICE):
        await asyncio.gather(*map(work, chunk))


def chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Return the items in parts of a size, the last one perhaps smaller."""
    return (items[start : start + size] for start in range(0, len(items), size))
