"""Sends a message to all members of a group."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from . import keys, scripts
from ._shared.config.options import EXCLUDE
from ._shared.transport.batch import MAX_COALESCED
from .config import ALIVE_FOR
from .envelope import TO
from .protocol.group_cache import LOOK_INTERVAL, GroupCache
from .sending import ExpectedMembers, MembersQuery, OutgoingMessage, SendBatch

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Iterator

    from ._shared.transport.pipeline import CommandClient
    from ._shared.transport.shards import Shards
    from .config import QueueSettings
    from .protocol.group_cache import Destination, GroupSnapshot

logger = logging.getLogger(__package__)

# Processes whose signs of life are remembered.
MAX_SIGNS = 10_000


class Publisher:
    """Sends to groups, on behalf of one layer in one process.

    Args:
        settings: The layer's options.
    """

    def __init__(self, settings: QueueSettings) -> None:
        self._settings = settings
        self._group_cache = GroupCache(settings.keys, settings.capacity)
        # The latest sign of life seen at each address, and the `time.monotonic()` since when.
        self._signs: dict[str, tuple[bytes, float]] = {}

    async def send(
        self, group: str, message: dict[str, Any], shards: Shards, exclude: Collection[str] = ()
    ) -> None:
        """Send a message to all members of a group but some; those that are full miss it."""
        if exclude:
            # Where names stand for members of a process, that process leaves these out.
            message = {**message, EXCLUDE: exclude}
        names = await self._send_as_known(group, message, shards)
        if names is None:
            return
        snapshot = self._group_cache.update(group, names)
        await self._send_to(snapshot, group, message, shards)
        await self._remove_dead(snapshot, group, shards)

    async def _send_to(
        self, snapshot: GroupSnapshot, group: str, message: dict[str, Any], shards: Shards
    ) -> None:
        # A script's keys are on one shard and, in a Cluster, in one slot.
        by_place: dict[tuple[int, int | None], list[Destination]] = {}
        for destination in _without_excluded(snapshot.destinations, message):
            shard = self._settings.shard_to(destination.address)
            place = shard, shards[shard].slot(destination.key)
            by_place.setdefault(place, []).append(destination)
        posts = SendBatch(self._settings.expiry)
        full = await _all(
            [
                self._send_chunk(posts, shards[shard], chunk, group, message)
                for (shard, _), all_there in by_place.items()
                for chunk in _chunks(all_there)
            ]
        )
        self._log(sum(full), snapshot, group)

    async def _send_as_known(
        self, group: str, message: dict[str, Any], shards: Shards
    ) -> bytes | None:
        """Send to the members that the group had last time, if it has the same now.

        Most groups change less often than they are sent to. Then this takes one round trip, and
        otherwise no more than reading the members, which it returns; None if the message is sent.
        """
        settings = self._settings
        key = settings.keys.group(group)
        snapshot = self._group_cache.last(group) if shards.are_one_place else None
        if snapshot is None or not snapshot.may_send_optimistically(0):
            # Even if the group is empty today: a caller's error shall not wait for a member.
            settings.serialize(message)
            return await MembersQuery(key, settings.group_expiry).read(shards.of(group))
        destinations = _without_excluded(snapshot.destinations, message)
        posts = self._posts(destinations, group, message)
        if not posts or not snapshot.may_send_optimistically(
            sum(len(post.message) for post in posts)
        ):
            return await MembersQuery(key, settings.group_expiry).read(shards.of(group))
        guard = ExpectedMembers(key, settings.group_expiry, snapshot.names)
        reply = await SendBatch(settings.expiry, guard).send(posts, shards.of(group))
        if isinstance(reply, bytes):
            return reply
        snapshot.tried = True
        self._log(sum(len(destinations[at].names) for at in reply), snapshot, group)
        await self._remove_dead(snapshot, group, shards)
        return None

    async def _send_chunk(
        self,
        posts: SendBatch,
        commands: CommandClient,
        chunk: list[Destination],
        group: str,
        message: dict[str, Any],
    ) -> int:
        """Send to destinations of one place; return how many members were full."""
        full = await posts.send(self._posts(chunk, group, message), commands)
        return sum(len(chunk[position].names) for position in full)

    def _posts(
        self, chunk: list[Destination], group: str, message: dict[str, Any]
    ) -> list[OutgoingMessage]:
        serialize, encrypts = self._settings.serialize, self._settings.encrypts
        counted = keys.number_of(group)
        plain = message
        if EXCLUDE in message:
            plain = {key: value for key, value in message.items() if key != EXCLUDE}
        posts = []
        for one in chunk:
            body = message
            # Names of single channels have been left out already.
            if plain is not message and not any(map(keys.is_virtual, one.names)):
                body = plain
            if encrypts or "!" in one.address:
                body = {**body, TO: one.names}
            posts.append(
                OutgoingMessage(
                    one.key, one.bell, one.counts, one.capacity, counted, serialize(body)
                )
            )
        return posts

    async def _remove_dead(self, snapshot: GroupSnapshot, group: str, shards: Shards) -> None:
        """Take processes that have died out of a group, if it is time to look for them."""
        now = time.monotonic()
        if now < snapshot.next_look:
            return
        snapshot.next_look = now + LOOK_INTERVAL
        await asyncio.gather(
            *(
                self._remove_if_dead(destination, group, shards)
                for destination in snapshot.destinations
                if keys.is_in_this_layer(destination.address)
            )
        )

    async def _remove_if_dead(self, destination: Destination, group: str, shards: Shards) -> None:
        key, commands = self._settings.keys.group(group), shards.of(group)
        # The dead cost their senders little, and another look comes.
        with contextlib.suppress(RedisError):
            if not await self._is_dead(destination.address, shards):
                return
            scores = await asyncio.gather(
                *(
                    commands.execute(("ZSCORE", key, name), key=key, idempotent=True)
                    for name in destination.names
                )
            )
            # Once more: one that has come back meanwhile writes its names with other scores.
            if not await self._is_dead(destination.address, shards):
                return
            for name, score in zip(destination.names, scores, strict=True):
                if score is not None:
                    names = [key]
                    if keys.is_virtual(name):
                        names.append(self._settings.keys.members(name))
                    command = scripts.GROUP_FORGET.call(names, name, score)
                    await commands.execute(command, key=key, idempotent=True)

    async def _is_dead(self, address: str, shards: Shards) -> bool:
        """Return whether a process has been silent for so long that it counts as dead."""
        commands, alive = shards.of(address), self._settings.keys.messages(address).alive
        sign = await commands.execute(("GET", alive), key=alive, idempotent=True)
        if sign is None or sign == keys.GONE:
            # Synchronous code gives no signs.
            return sign is not None
        now = time.monotonic()
        seen, since = self._signs.get(address, (None, now))
        if seen != sign:
            if len(self._signs) >= MAX_SIGNS:
                self._signs.clear()
            self._signs[address] = sign, now
            return False
        # Longer than a message lives: what it could still receive is not lost.
        if now - since < max(ALIVE_FOR, self._settings.expiry):
            return False
        command = scripts.BURY.call([alive], sign, keys.GONE, self._settings.mark_stays)
        return bool(await commands.execute(command, key=alive, idempotent=True))

    def _log(self, full: int, snapshot: GroupSnapshot, group: str) -> None:
        if full:
            self._settings.counters.over_capacity += full
            logger.info(
                "%s of %s channels over capacity in group %s", full, snapshot.members, group
            )


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


def _without_excluded(
    destinations: list[Destination], message: dict[str, Any]
) -> list[Destination]:
    """Return where a message goes, without the channels that it excludes."""
    if EXCLUDE not in message:
        return destinations
    kept = (
        replace(one, names=[name for name in one.names if name not in message[EXCLUDE]])
        for one in destinations
    )
    return [one for one in kept if one.names]


def _chunks(whole: list[Destination]) -> Iterator[list[Destination]]:
    for start in range(0, len(whole), MAX_COALESCED):
        yield whole[start : start + MAX_COALESCED]
