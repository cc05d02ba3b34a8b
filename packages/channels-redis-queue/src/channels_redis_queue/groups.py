"""Keeps groups in Redis, by process, and sends to them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from . import keys, scripts
from ._shared.calls import MAX_JOINED
from .letters import TO
from .sending import Members, Post, Posts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator

    from ._shared.batching import Commands
    from ._shared.shards import Shards
    from .memberships import Memberships
    from .settings import Settings

logger = logging.getLogger(__package__)

# How many leaves wait for a process at the most.
MOST_LEAVES = 10_000


@dataclass(frozen=True)
class Destination:
    """A message key that a group message goes to, and the names in it that it is for."""

    address: str
    names: list[str]


def destinations(names: list[str]) -> list[Destination]:
    """Return where a message for these members of a group goes: to each message key once."""
    by_address: dict[str, list[str]] = {}
    for name in names:
        # keys.non_local, without its call: a group may have ten thousand members.
        address = name[: name.find("!") + 1] or name
        named = by_address.get(address)
        if named is None:
            by_address[address] = [name]
        else:
            named.append(name)
    return [Destination(address, named) for address, named in by_address.items()]


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
        self._posts = Posts(settings.expiry)
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

    async def send(self, group: str, message: dict[str, Any]) -> None:
        """Send a message to all members of a group; those that are full miss it."""
        shards, settings = self._shards(), self._settings
        members = Members(self._keys.group(group), settings.group_expiry)
        names = await members.read(shards.of(group))
        # A script's keys are on one shard and, in a Cluster, in one slot.
        by_place: dict[tuple[int, int | None], list[Destination]] = {}
        for destination in destinations(names):
            shard = settings.shard_to(destination.address)
            slot = shards[shard].slot(self._keys.messages(destination.address).key)
            by_place.setdefault((shard, slot), []).append(destination)
        full = await _all(
            [
                self._send_chunk(shards[shard], chunk, message)
                for (shard, _), all_there in by_place.items()
                for chunk in _chunks(all_there)
            ]
        )
        if any(full):
            logger.info("%s of %s channels over capacity in group %s", sum(full), len(names), group)

    async def _send_chunk(
        self, commands: Commands, chunk: list[Destination], message: dict[str, Any]
    ) -> int:
        """Send to destinations of one place; return how many members were full."""
        posts = []
        for destination in chunk:
            beside = self._keys.messages(destination.address)
            capacity = self._settings.capacity(destination.names[0])
            addressed = message
            if "!" in destination.address:
                addressed = {**message, TO: destination.names}
            data = self._settings.serialize(addressed)
            posts.append(Post(beside.key, beside.bell, capacity, data))
        full = await self._posts.send(posts, commands)
        return sum(len(chunk[position].names) for position in full)

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


async def _all(sends: list[Coroutine[Any, Any, int]]) -> list[int]:
    """Carry out all sends, also after one has failed; return their results or raise its error."""
    if len(sends) == 1:
        # The usual case, without the task that gather would make.
        return [await sends[0]]
    results = await asyncio.gather(*sends, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if isinstance(result, int)]


def _chunks(whole: list[Destination]) -> Iterator[list[Destination]]:
    for start in range(0, len(whole), MAX_JOINED):
        yield whole[start : start + MAX_JOINED]
