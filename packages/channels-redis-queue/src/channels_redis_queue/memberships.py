"""Keep the members of a broker in Redis, where one name stands for those of a group."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from redis.exceptions import RedisError

from . import keys
from ._shared.transport.commands import chunks
from ._shared.transport.errors import is_temporary

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from ._shared.transport.commands import Shards
    from .groups import Groups
    from .keys import Keys
    from .protocol.local_groups import LocalGroups


# Names in one command: the server serves no other client meanwhile.
MAX_NAMES = 200
# Virtual channels of one server that are worked on concurrently, and that are looked through
# without a pause.
WORKERS = 50
SCAN_CHUNK = 500


T = TypeVar("T")


class Memberships:
    """The members of a broker, as Redis has them.

    Args:
        names: The layer's keys.
        local_groups: The members.
        groups: The groups in Redis.
        on_removed: Called with each virtual channel that was removed.
    """

    def __init__(
        self,
        names: Keys,
        local_groups: LocalGroups,
        groups: Groups,
        on_removed: Callable[[str], object],
    ) -> None:
        self._keys = names
        self._local_groups = local_groups
        self._groups = groups
        self._on_removed = on_removed

    async def add(
        self, group: str, channel: str, shards: Shards, then: Callable[[], Awaitable[T]]
    ) -> T:
        """Make a channel of this process a member: here first, and then in Redis.

        Args:
            group: The group.
            channel: The channel.
            shards: The command connections.
            then: Awaited last of all. If it fails, the channel does not become a member.
        """
        local_groups = self._local_groups
        virtual = keys.virtual_of(channel, group)
        local_groups.begin_join(virtual, channel)
        try:
            score = await self._groups.write(virtual, [channel], shards)
            result = await then()
        except GeneratorExit:
            # The garbage collector ends it, in any thread: its loop was closed, and `abandon`
            # cancels all joins.
            raise
        except BaseException:
            local_groups.cancel_join(virtual, channel)
            raise
        local_groups.confirm_join(virtual, channel, score)
        return result

    async def restore(self, virtuals: Iterable[str], shards: Shards) -> None:
        """Write virtual channels again, with exactly the members that they have.

        Raises:
            redis.exceptions.RedisError: Some could not be written.
        """
        await self._each(self._restore, virtuals, shards)

    async def _restore(self, virtual: str, shards: Shards) -> None:
        # Members that left in what the server has lost may be back there.
        command = ("UNLINK", self._keys.members(virtual))
        unlinked = self._groups.execute(keys.group_of(virtual), command, shards)
        for chunk in chunks(self._local_groups.members(virtual), MAX_NAMES):
            # Nothing would remove those that have left meanwhile.
            members = set(self._local_groups.members(virtual)).intersection(chunk)
            if not await self._write_again(virtual, members, shards):
                break
        await unlinked

    async def renew(self, virtuals: Iterable[str], shards: Shards) -> None:
        """Write virtual channels again, so that they don't expire; those that fail are due again.

        Args:
            virtuals: The virtual channels.
            shards: The command connections.
        """
        await self._each(self._renew, virtuals, shards)

    async def _renew(self, virtual: str, shards: Shards) -> None:
        # Any member renews the set of all.
        members = self._local_groups.members(virtual)[:1]
        with contextlib.suppress(RedisError):
            if members:
                await self._write_again(virtual, members, shards)

    async def _write_again(self, virtual: str, members: Iterable[str], shards: Shards) -> bool:
        """Write a virtual channel again; return whether it still has members."""
        score = await self._groups.write(virtual, members, shards)
        if not self._local_groups.members(virtual):
            # Its last member has left meanwhile, and what was removed had another score.
            await self._groups.forget(keys.group_of(virtual), virtual, score, shards)
            return False
        self._local_groups.written(virtual, score)
        return True

    async def is_lost(self, virtual: str, shards: Shards) -> bool:
        """Return whether the server does not have a virtual channel as it was written last.

        Raises:
            redis.exceptions.RedisError: It could not be read.
        """
        group, written = keys.group_of(virtual), self._local_groups.score(virtual)
        command = ("ZSCORE", self._keys.group(group), virtual)
        found = await self._groups.execute(group, command, shards)
        if not self._local_groups.members(virtual) or self._local_groups.score(virtual) != written:
            return False  # removed, or written again meanwhile
        return written is not None and (found is None or float(found) < float(written))

    async def publish_removed_members(self, shards: Shards) -> None:
        """Remove from Redis the members that have gone, and virtual channels that have none."""
        removed = self._local_groups.take_removed_members()
        try:
            await self._each(partial(self._publish_removed, removed), removed, shards)
        finally:
            # What failed is tried again, and what had no turn if this was cancelled.
            for virtual, channels in removed.items():
                self._local_groups.note_removed(virtual, channels)

    async def _publish_removed(
        self, removed: dict[str, set[str]], virtual: str, shards: Shards
    ) -> None:
        try:
            if self._local_groups.members(virtual):
                await self._remove_members(virtual, removed[virtual], shards)
            elif await self._remove_virtual(virtual, shards):
                self._local_groups.forget_if_empty(virtual)
                self._on_removed(virtual)
            else:
                return
        except RedisError as error:
            # After an error that lasts, the name expires.
            if is_temporary(error):
                return
        del removed[virtual]

    async def _remove_members(self, virtual: str, channels: set[str], shards: Shards) -> None:
        key, group = self._keys.members(virtual), keys.group_of(virtual)
        for chunk in chunks(sorted(channels), MAX_NAMES):
            # Looked up last of all: a member that has come back must not be removed.
            back = set(self._local_groups.members(virtual))
            names = [keys.local(channel) for channel in chunk if channel not in back]
            if names:
                await self._groups.execute(group, ("SREM", key, *names), shards)

    async def _remove_virtual(self, virtual: str, shards: Shards) -> bool:
        """Remove a virtual channel without members; return False if it has got one meanwhile."""
        group = keys.group_of(virtual)
        command = ("ZSCORE", self._keys.group(group), virtual)
        score = await self._groups.execute(group, command, shards)
        if self._local_groups.members(virtual):
            return False
        # A join meanwhile changes the score.
        return score is None or await self._groups.forget(group, virtual, score, shards)

    async def _each(
        self,
        work: Callable[[str, Shards], Awaitable[None]],
        virtuals: Iterable[str],
        shards: Shards,
    ) -> None:
        """Call `work` for each virtual channel, in chunks that do not block the event loop."""
        # Each server has chunks of its own: one that is away must not keep the others waiting.
        by_server: dict[object, list[str]] = {}
        for chunk in chunks(list(virtuals), SCAN_CHUNK):
            for virtual in chunk:
                group = keys.group_of(virtual)
                commands = shards.of(group)
                server = commands, commands.node(self._keys.group(group))
                by_server.setdefault(server, []).append(virtual)
            await asyncio.sleep(0)
        # Not a task for each: so many objects at once would keep the garbage collector busy.
        await asyncio.gather(
            *(
                _work(work, virtuals, shards)
                for virtuals in map(deque, by_server.values())
                for _ in range(WORKERS)
            )
        )


async def _work(
    work: Callable[[str, Shards], Awaitable[None]], virtuals: deque[str], shards: Shards
) -> None:
    while virtuals:
        try:
            await work(virtuals.popleft(), shards)
        except BaseException:
            virtuals.clear()  # so that the others stop as well
            raise
