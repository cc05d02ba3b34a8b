"""Keep the members of a broker in Redis, where one name stands for those of a group."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, TypeVar, overload

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
    """

    def __init__(self, names: Keys, local_groups: LocalGroups, groups: Groups) -> None:
        self._keys = names
        self._local_groups = local_groups
        self._groups = groups

    @overload
    async def add(self, group: str, channel: str, shards: Shards) -> None: ...
    @overload
    async def add(
        self, group: str, channel: str, shards: Shards, then: Callable[[], Awaitable[T]]
    ) -> T: ...
    async def add(
        self,
        group: str,
        channel: str,
        shards: Shards,
        then: Callable[[], Awaitable[T]] | None = None,
    ) -> T | None:
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
            result = None if then is None else await then()
        except GeneratorExit:
            # The garbage collector ends it, in any thread: its loop was closed, and `abandon`
            # cancels all joins.
            raise
        except BaseException:
            local_groups.cancel_join(virtual, channel)
            raise
        local_groups.confirm_join(virtual, channel, score)
        return result

    async def remove_empty(self, virtuals: Iterable[str], shards: Shards) -> None:
        """Remove virtual channels from their groups if they have no members any more."""
        await self._each(self._remove_if_empty, virtuals, shards)

    async def _remove_if_empty(self, virtual: str, shards: Shards) -> None:
        empty, score = self._local_groups.emptied(virtual)
        if not empty:
            return
        try:
            if score is None:
                # The reply to a join or to the removal was lost, or the server went back in time.
                group = keys.group_of(virtual)
                command = ("ZSCORE", self._keys.group(group), virtual)
                score = await self._groups.execute(group, command, shards)
                if self._local_groups.members(virtual):
                    return
            # A join meanwhile would have changed the score.
            if score is not None:
                await self._groups.forget(keys.group_of(virtual), virtual, score, shards)
        except RedisError as error:
            # The next sweep tries again. After an error that lasts, the name expires.
            if is_temporary(error):
                return
        # Not before: if this is cancelled, as an event loop ends, it is done again.
        self._local_groups.forget_if_empty(virtual)

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

    async def restore_missing(self, virtuals: Iterable[str], shards: Shards) -> None:
        """Write those virtual channels again that the server does not have as written last.

        Raises:
            redis.exceptions.RedisError: Some could not be read or written.
        """
        await self._each(self._restore_if_missing, virtuals, shards)

    async def _restore_if_missing(self, virtual: str, shards: Shards) -> None:
        group, written = keys.group_of(virtual), self._local_groups.score(virtual)
        if written is None:
            return
        command = ("ZSCORE", self._keys.group(group), virtual)
        found = await self._groups.execute(group, command, shards)
        if found is None or float(found) < float(written):
            await self._restore(virtual, shards)

    async def publish_removed_members(self, shards: Shards) -> None:
        """Remove from Redis the members that have gone without `group_discard`."""
        removed = self._local_groups.take_removed_members()
        try:
            await self._each(partial(self._publish_removed, removed), removed, shards)
        finally:
            # If this is cancelled, some may not have had their turn.
            for virtual, channels in removed.items():
                self._local_groups.restore_removed_members(virtual, channels)

    async def _publish_removed(
        self, removed: dict[str, set[str]], virtual: str, shards: Shards
    ) -> None:
        key, group = self._keys.members(virtual), keys.group_of(virtual)
        channels = removed.pop(virtual)
        try:
            for chunk in chunks(sorted(channels), MAX_NAMES):
                # Looked up last of all: a member that has come back must not be removed.
                back = set(self._local_groups.members(virtual))
                names = [keys.local(channel) for channel in chunk if channel not in back]
                if names:
                    await self._groups.execute(group, ("SREM", key, *names), shards)
        except BaseException as error:
            self._local_groups.restore_removed_members(virtual, channels)
            if not isinstance(error, RedisError):
                raise

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
