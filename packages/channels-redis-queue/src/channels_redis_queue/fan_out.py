"""Sends a message to all members of a group."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._shared.calls import MAX_JOINED
from .letters import TO
from .sending import Guard, Members, Post, Posts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from ._shared.batching import Commands
    from ._shared.shards import Shards
    from .settings import Settings

logger = logging.getLogger(__package__)

# How large a message may be, and the list of a group's names, to be sent on the assumption that
# these are what they were: if they are not, it has travelled in vain.
MOST_ASSUMED = 4096
# How many groups' names are remembered for that.
MOST_GROUPS = 1000


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


class FanOut:
    """Sends to groups, on behalf of one layer in one process.

    Args:
        settings: The layer's options.
        shards: Returns the command connections of the running event loop.
    """

    def __init__(self, settings: Settings, shards: Callable[[], Shards]) -> None:
        self._settings = settings
        self._shards = shards
        # The names that a group had when a message was last sent to it, as the server told them.
        self._known: dict[str, bytes] = {}

    async def send(self, group: str, message: dict[str, Any]) -> None:
        """Send a message to all members of a group; those that are full miss it."""
        shards = self._shards()
        names = await self._send_as_known(group, message, shards)
        if names is None:
            return
        self._remember(group, names)
        members = _split(names)
        # A script's keys are on one shard and, in a Cluster, in one slot.
        by_place: dict[tuple[int, int | None], list[Destination]] = {}
        for destination in destinations(members):
            shard = self._settings.shard_to(destination.address)
            slot = shards[shard].slot(self._settings.keys.messages(destination.address).key)
            by_place.setdefault((shard, slot), []).append(destination)
        posts = Posts(self._settings.expiry)
        full = await _all(
            [
                self._send_chunk(posts, shards[shard], chunk, message)
                for (shard, _), all_there in by_place.items()
                for chunk in _chunks(all_there)
            ]
        )
        self._log(sum(full), len(members), group)

    async def _send_as_known(
        self, group: str, message: dict[str, Any], shards: Shards
    ) -> bytes | None:
        """Send to the members that the group had last time, if it has the same now.

        Most groups change less often than they are sent to. Then this takes one round trip, and
        otherwise no more than reading the members, which it returns; None if the message is sent.
        """
        settings, known = self._settings, self._known.get(group)
        members = Members(settings.keys.group(group), settings.group_expiry)
        if known is None:
            return await members.read(shards.of(group))
        posts = self._posts(destinations(_split(known)), message)
        if sum(len(post.message) for post in posts) > MOST_ASSUMED:
            return await members.read(shards.of(group))
        guard = Guard(members.group_key, settings.group_expiry, known)
        reply = await Posts(settings.expiry, guard).send(posts, shards.of(group))
        if isinstance(reply, bytes):
            return reply
        names = [destination.names for destination in destinations(_split(known))]
        self._log(sum(len(names[at]) for at in reply), sum(map(len, names)), group)
        return None

    def _remember(self, group: str, names: bytes) -> None:
        shards = self._shards()
        one_place = len(shards) == 1 and shards[0].slot("") is None
        small = len(names) <= MOST_ASSUMED and names.count(b" ") < MAX_JOINED
        if one_place and names and small:
            if len(self._known) >= MOST_GROUPS:
                self._known.clear()
            self._known[group] = names
        else:
            self._known.pop(group, None)

    async def _send_chunk(
        self, posts: Posts, commands: Commands, chunk: list[Destination], message: dict[str, Any]
    ) -> int:
        """Send to destinations of one place; return how many members were full."""
        full = await posts.send(self._posts(chunk, message), commands)
        return sum(len(chunk[position].names) for position in full)

    def _posts(self, chunk: list[Destination], message: dict[str, Any]) -> list[Post]:
        posts = []
        for destination in chunk:
            beside = self._settings.keys.messages(destination.address)
            capacity = self._settings.capacity(destination.names[0])
            addressed = message
            if "!" in destination.address:
                addressed = {**message, TO: destination.names}
            data = self._settings.serialize(addressed)
            posts.append(Post(beside.key, beside.bell, capacity, data))
        return posts

    def _log(self, full: int, members: int, group: str) -> None:
        if full:
            self._settings.counters.over_capacity += full
            logger.info("%s of %s channels over capacity in group %s", full, members, group)


def _split(names: bytes) -> list[str]:
    return names.decode(errors="replace").split(" ") if names else []


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
