"""Groups in Redis: add, remove and list their members."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from redis.exceptions import RedisError

from . import keys, scripts
from ._shared.transport.commands import chunks
from ._shared.transport.errors import is_temporary
from .config import HEARTBEAT_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from ._shared.transport.commands import Command, CommandClient, Shards
    from .config import QueueSettings
    from .liveness import Liveness
    from .protocol.group_cache import Destination
    from .protocol.local_groups import LocalGroups


# Names in one command: the server serves no other client meanwhile.
MAX_NAMES = 200
# Virtual channels of one server that are worked on concurrently, and that are looked through
# without a pause.
WORKERS = 50
SCAN_CHUNK = 500


T = TypeVar("T")


class MembersQuery(NamedTuple):
    """Coalesce reads of one group's names, so that a burst of sends reads them once."""

    group_key: str
    # In seconds.
    group_expiry: int

    async def read(self, commands: CommandClient) -> bytes:
        """Return the names in the group, separated by blanks."""
        names: bytes = await commands.execute_coalesced(
            (self.group_key,), self, 0, key=self.group_key, idempotent=True
        )
        return names

    def command(self, parts: Sequence[Any]) -> Command:  # noqa: ARG002 - all ask the same
        """Return the command that reads the names."""
        return scripts.GROUP_MEMBERS.call([self.group_key], self.group_expiry)

    def replies(self, reply: Any, parts: Sequence[Any]) -> list[Any]:
        """Return the names, once for each part."""
        return [reply] * len(parts)


class Groups:
    """The groups of one layer, as this process sees and changes them.

    Each method takes the command connections to use: a loop that is closing still has its own.

    Args:
        settings: The layer's options.
        local_groups: The members in this process.
        liveness: Tells which processes are dead.
    """

    def __init__(
        self, settings: QueueSettings, local_groups: LocalGroups, liveness: Liveness
    ) -> None:
        self._settings = settings
        self._keys = settings.keys
        self._local_groups = local_groups
        self._liveness = liveness

    @overload
    async def add_local(self, group: str, channel: str, shards: Shards) -> None: ...
    @overload
    async def add_local(
        self, group: str, channel: str, shards: Shards, then: Callable[[], Awaitable[T]]
    ) -> T: ...
    async def add_local(
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
        virtual = keys.virtual_of(channel, group)
        self._local_groups.begin_join(virtual, channel)
        try:
            score = await self._write(virtual, [channel], shards)
            result = None if then is None else await then()
        except BaseException:
            self._local_groups.cancel_join(virtual, channel)
            raise
        self._local_groups.confirm_join(virtual, channel, score)
        return result

    async def add_name(self, group: str, name: str, shards: Shards) -> bytes:
        """Write a name into the group in Redis; return its score, the time there."""
        command = scripts.GROUP_ADD.call(
            [self._keys.group(group)], name, self._settings.group_expiry
        )
        score: bytes = await self._execute(group, command, shards)
        return score

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
            await self._execute(group, scripts.GROUP_DISCARD.call(names, *arguments), shards)
            return 0.0, 0.0
        virtual = keys.virtual_channel(address, group)
        names.append(self._keys.members(virtual))
        arguments += keys.local(channel), virtual
        queue = self._keys.messages(address)
        if shards.are_one_place:
            names.append(queue.key)
        command = scripts.GROUP_DISCARD.call(names, *arguments)
        at, after = map(float, await self._execute(group, command, shards))
        if not shards.are_one_place:
            seconds, microseconds = await shards.of(address).execute(
                ("TIME",), key=queue.key, idempotent=True
            )
            after = int(seconds) + int(microseconds) / 1_000_000
        return at, after

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
                score = await self._execute(group, command, shards)
                if self._local_groups.members(virtual):
                    return
            # A join meanwhile would have changed the score.
            if score is not None:
                await self._remove(virtual, score, shards)
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
        group = keys.group_of(virtual)
        unlinked = shards.of(group).execute(
            ("UNLINK", self._keys.members(virtual)), key=self._keys.group(group), idempotent=True
        )
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
        score = await self._write(virtual, members, shards)
        if not self._local_groups.members(virtual):
            # Its last member has left meanwhile, and what was removed had another score.
            await self._remove(virtual, score, shards)
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
        found = await self._execute(group, command, shards)
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
                    await self._execute(group, ("SREM", key, *names), shards)
        except BaseException as error:
            self._local_groups.restore_removed_members(virtual, channels)
            if not isinstance(error, RedisError):
                raise

    async def count_channels(self, group: str, shards: Shards) -> int:
        """Return the number of channels that are members of a group."""
        virtuals, plain = await self._living_names(group, shards)
        sizes = [("SCARD", self._keys.members(virtual)) for virtual in virtuals]
        # A channel that was added both here and by another process counts once.
        known = set(virtuals)
        pairs = ((name, keys.virtual_channel(keys.non_local(name), group)) for name in plain)
        duplicates = [
            ("SISMEMBER", self._keys.members(virtual), keys.local(name))
            for name, virtual in pairs
            if virtual in known
        ]
        counts: list[int] = await asyncio.gather(
            *(self._execute(group, command, shards) for command in (*sizes, *duplicates))
        )
        return len(plain) + sum(counts[: len(sizes)]) - sum(counts[len(sizes) :])

    async def channels(self, group: str, shards: Shards) -> list[str]:
        """Return the channels that are members of a group, in no order."""
        virtuals, plain = await self._living_names(group, shards)
        commands = (("SMEMBERS", self._keys.members(virtual)) for virtual in virtuals)
        found = await asyncio.gather(
            *(self._execute(group, command, shards) for command in commands)
        )
        channels = dict.fromkeys(plain)
        for virtual, members in zip(virtuals, found, strict=True):
            address = keys.address_of(virtual)
            channels.update(
                dict.fromkeys(address + name.decode(errors="replace") for name in members)
            )
        return list(channels)

    async def _living_names(self, group: str, shards: Shards) -> tuple[list[str], list[str]]:
        """Return the virtual channels of a group whose processes live, and the plain names."""
        commands, key = shards.of(group), self._keys.group(group)
        # A process that has joined just now lives, and may not have sent a heartbeat yet.
        names, recent = await asyncio.gather(
            *(
                MembersQuery(key, seconds).read(commands)
                for seconds in (self._settings.group_expiry, HEARTBEAT_TIMEOUT)
            )
        )
        split, young = _split(names), set(_split(recent))
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
                *(self._execute(group, ("ZSCORE", key, name), shards) for name in destination.names)
            )
            # Again: a process that has come back meanwhile writes its names with other scores.
            if not await self._liveness.is_dead(destination.address, shards):
                return
            for name, score in zip(destination.names, scores, strict=True):
                if score is not None:
                    await self._forget(group, name, score, shards)

    async def _write(self, virtual: str, channels: Iterable[str], shards: Shards) -> bytes:
        """Write a virtual channel into its group, with members behind it; return its score."""
        group = keys.group_of(virtual)
        command = scripts.GROUP_ADD.call(
            [self._keys.group(group), self._keys.members(virtual)],
            virtual,
            self._settings.group_expiry,
            *map(keys.local, channels),
        )
        score: bytes = await self._execute(group, command, shards)
        return score

    async def _remove(self, virtual: str, score: bytes, shards: Shards) -> None:
        """Remove a virtual channel's name, unless it was written again meanwhile."""
        await self._forget(keys.group_of(virtual), virtual, score, shards)

    async def _forget(self, group: str, name: str, score: bytes, shards: Shards) -> None:
        """Remove a name from a group, unless its score has changed."""
        names = [self._keys.group(group)]
        if keys.is_virtual(name):
            names.append(self._keys.members(name))
        await self._execute(group, scripts.GROUP_FORGET.call(names, name, score), shards)

    async def _execute(self, group: str, command: Command, shards: Shards) -> Any:
        """Execute an idempotent command on a group's key, or one in its slot."""
        return await shards.of(group).execute(command, key=self._keys.group(group), idempotent=True)

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


def _split(names: bytes) -> list[str]:
    return names.decode(errors="replace").split(" ") if names else []
