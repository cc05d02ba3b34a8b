"""Publish messages to message keys: several in one script call, and to all members of a group."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack
from redis.exceptions import ResponseError

from . import keys, scripts
from ._shared.clock import monotonic
from ._shared.messages.serializers import EXCLUDE, POSITION
from ._shared.transport.commands import chunks
from ._shared.transport.pipeline import MAX_COALESCED
from .protocol.group_cache import LIVENESS_CHECK_INTERVAL, Destination, GroupCache

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Sequence

    from ._shared.transport.commands import Command, CommandClient, Shards
    from .config import QueueSettings
    from .groups import Groups
    from .protocol.group_cache import GroupSnapshot, Outgoing

logger = logging.getLogger(__package__)

# Seconds that a reader has to take from a full key, and those between two tries to send to it.
STALL_TIMEOUT = 0.5
MIN_RETRY_DELAY = 0.002
MAX_RETRY_DELAY = 0.02
# Bytes that one call adds to all its message keys.
MAX_CALL_BYTES = 32_000_000
# Full keys that are remembered.
MAX_FULL_KEYS = 10_000


class SendBatch(NamedTuple):
    """Coalesce messages into one command, whose reply lists those that found their key full."""

    # Seconds that a message lives.
    expiry: int
    # The key and the SHA-1 of the names that a group must have, and the seconds that its members
    # live. Without a key, messages are sent unconditionally.
    group_key: str = ""
    digest: str = ""
    group_expiry: int = 0

    def send(
        self, messages: Sequence[Outgoing], commands: CommandClient, *, idempotent: bool = False
    ) -> Awaitable[Any]:
        """Send the messages. In a Cluster, the keys of all are in one slot.

        Args:
            messages: The messages.
            commands: The connection to their server.
            idempotent: Whether they may be sent twice.

        Returns:
            The positions of those that found their key full; or the group's names, as bytes, if
            they differ from the expected ones: then nothing was sent.

        Raises:
            redis.exceptions.ResponseError: Also if a key holds something other than messages; the
                messages for other keys have been sent.
        """
        destination, body = messages[0]
        size, capacity = len(body), destination.capacity
        if len(messages) > 1:
            size, capacity = body_size(messages), min([one.capacity for one, _ in messages])
        # One write must not fill a key.
        return commands.execute_coalesced(
            messages,
            self,
            size,
            key=destination.key,
            quota=(capacity + 1) // 2,
            idempotent=idempotent,
        )

    def command(self, parts: Sequence[Sequence[Outgoing]]) -> Command:
        """Return the command that adds all messages."""
        names = [self.group_key] if self.group_key else []
        # Each key is named once: many messages are for one process, and a key is as long as they.
        destinations: dict[str, int] = {}
        # Each body is sent once: the message of a group is for many processes.
        bodies: dict[int, tuple[int, bytes]] = {}
        numbers: list[int] = []
        for messages in parts:
            for one, body in messages:
                destination = destinations.get(one.key)
                if destination is None:
                    destination = destinations[one.key] = len(destinations) + 1
                    names += (one.key, one.bell)
                number, _ = bodies.setdefault(id(body), (len(bodies) + 1, body))
                numbers += (destination, one.capacity, number)
        return scripts.SEND.call(
            names,
            self.expiry,
            self.group_expiry,
            self.digest,
            msgpack.packb(numbers),
            *[body for _, body in bodies.values()],
        )

    def replies(self, reply: Any, parts: Sequence[Sequence[Outgoing]]) -> list[Any]:
        """Return for each part what `send` returns, or the error that it raises."""
        if isinstance(reply, bytes):
            return [reply] * len(parts)
        if not reply:
            return [[] for _ in parts]
        errors = {one[0]: ResponseError(one[1].decode()) for one in reply if isinstance(one, list)}
        full = {one for one in reply if isinstance(one, int)}
        found: list[Any] = []
        first = 1
        for messages in parts:
            positions = range(first, first + len(messages))
            error = next((errors[at] for at in positions if at in errors), None)
            found.append(error or [at - first for at in positions if at in full])
            first += len(messages)
        return found


def body_size(messages: Sequence[Outgoing]) -> int:
    """Return the bytes of the bodies of some messages, each counted once."""
    return sum(map(len, {id(body): body for _, body in messages}.values()))


class Publisher:
    """Publish to groups, on behalf of one layer in one process.

    Args:
        settings: The layer's options.
        groups: Reads names, and removes dead processes.
    """

    def __init__(self, settings: QueueSettings, groups: Groups) -> None:
        self._settings = settings
        self._groups = groups
        self._batch = SendBatch(settings.expiry)
        self._group_cache = GroupCache(settings.keys, settings.key_capacity)
        # The message keys that were full, and the `monotonic()` from which their readers count
        # as stalled if they make no room.
        self._stalled_from: dict[str, float] = {}

    async def publish(
        self, group: str, message: dict[str, Any], shards: Shards, exclude: Collection[str] = ()
    ) -> None:
        """Send a message to the members of a group, except those excluded.

        Those whose key is full miss it, unless their process takes messages meanwhile. Most groups
        change less often than they are sent to. So it goes first of all to the members that the
        group had last time, if it still has the same: then this takes one round trip, otherwise as
        many as reading the members.
        """
        settings = self._settings
        if exclude:
            # A process removes these from the members that a virtual channel stands for.
            message = {**message, EXCLUDE: exclude}
        if settings.history is not None and (limits := settings.history.limits(group)) is not None:
            # First of all: what then does not reach a member is found there.
            data, commands = settings.encode(message), shards.of(group)
            positions = await settings.store.append(group, data, limits, commands)
            message = {**message, POSITION: " ".join(positions)}
        # Even if the group is empty: an invalid message must not fail only once it has members.
        shared = settings.encode({**message, keys.GROUP_FIELD: group})
        snapshot = self._group_cache.get(group) if shards.are_one_place else None
        messages = [] if snapshot is None else self._outgoing(snapshot, message, shared)
        if messages and snapshot and snapshot.may_send_optimistically(body_size(messages)):
            batch = SendBatch(
                settings.expiry, settings.keys.group(group), snapshot.digest, settings.group_expiry
            )
            reply = await batch.send(messages, shards.of(group))
        else:
            reply = await self._groups.names(group, settings.group_expiry, shards)
        if snapshot is None or isinstance(reply, bytes):
            snapshot = self._group_cache.update(group, reply)
            messages = self._outgoing(snapshot, message, shared)
            full = await self._send(messages, shards)
        else:
            # Not a comprehension, which would cost each call a cell before Python 3.12.
            full = list(map(messages.__getitem__, reply))
        if self._stalled_from or full:
            await self._wait_for_room(messages, full, snapshot, shards)
        now = monotonic()
        if now >= snapshot.next_liveness_check:
            snapshot.next_liveness_check = now + LIVENESS_CHECK_INTERVAL
            await self._groups.remove_dead(group, snapshot.destinations, shards)

    async def send_leave(self, group: str, channel: str, at: float, shards: Shards) -> None:
        """Send a leave to a channel's process, in order with its messages.

        Args:
            group: The group.
            channel: The channel.
            at: The time by which its membership began, in microseconds' precision.
            shards: The command connections.
        """
        settings, address = self._settings, keys.non_local(channel)
        leave = {keys.CHANNELS_FIELD: channel, keys.LEAVE_FIELD: f"{group} {at!r}"}
        destination = Destination.of(address, [channel], settings.keys, 0)
        messages = [(destination, settings.encode(leave))]
        await self._batch.send(messages, shards.of(address), idempotent=True)

    def _outgoing(
        self, snapshot: GroupSnapshot, message: dict[str, Any], shared: bytes
    ) -> list[Outgoing]:
        """Return what each destination of a group gets, without the excluded channels.

        Args:
            snapshot: The group.
            message: The message.
            shared: What the processes of this layer get: it names the group, whose members they
                know.
        """
        destinations = snapshot.destinations
        if EXCLUDE in message:
            excluded = message[EXCLUDE]
            kept = (
                replace(one, names=[name for name in one.names if name not in excluded])
                for one in destinations
            )
            destinations = [one for one in kept if one.names]
        return [
            (
                one,
                shared
                if len(one.names) == 1 and keys.is_virtual(one.names[0])
                else self._encode_for(one, message),
            )
            for one in destinations
        ]

    def _encode_for(self, destination: Destination, message: dict[str, Any]) -> bytes:
        """Return the bytes for a destination that has more names than its virtual channel."""
        names, settings = destination.names, self._settings
        if EXCLUDE in message and not any(map(keys.is_virtual, names)):
            # Names of single channels have been left out already.
            message = {key: value for key, value in message.items() if key != EXCLUDE}
        if settings.encrypts or "!" in destination.address:
            message = {**message, keys.CHANNELS_FIELD: names}
        return settings.encode(message)

    async def _wait_for_room(
        self,
        messages: Sequence[Outgoing],
        full: Sequence[Outgoing],
        snapshot: GroupSnapshot,
        shards: Shards,
    ) -> None:
        """Send again to those that were full until they have room; count those that had none.

        A burst fills a key faster than a busy reader empties it. A reader that takes nothing costs
        each sender this wait once, until it takes again.
        """
        dropped = 0
        delay = MIN_RETRY_DELAY
        while True:
            for key in {one.key for one, _ in messages} - {one.key for one, _ in full}:
                self._stalled_from.pop(key, None)
            if len(self._stalled_from) > MAX_FULL_KEYS:
                self._stalled_from.clear()
            now = monotonic()
            messages = []
            for one, body in full:
                if now < self._stalled_from.setdefault(one.key, now + STALL_TIMEOUT):
                    messages.append((one, body))
                else:
                    dropped += len(one.names)
            if not messages:
                break
            await asyncio.sleep(delay)
            delay = min(2 * delay, MAX_RETRY_DELAY)
            full = await self._send(messages, shards)
        if dropped:
            self._settings.counters.capacity += dropped
            logger.info(
                "%s of %s channels over capacity in group %s",
                dropped,
                sum(len(one.names) for one in snapshot.destinations),
                snapshot.group,
            )

    async def _send(self, messages: Sequence[Outgoing], shards: Shards) -> list[Outgoing]:
        """Send to destinations in any places; return those that were full.

        All are sent even after one has failed.
        """
        # A script's keys are on one shard and, in a Cluster, in one slot.
        by_place: dict[tuple[int, int | None], list[Outgoing]] = {}
        for one, body in messages:
            shard = self._settings.shard_to(one.address)
            by_place.setdefault((shard, shards[shard].slot(one.key)), []).append((one, body))
        calls = [
            (chunk, self._batch.send(chunk, shards[shard]))
            for (shard, _), all_there in by_place.items()
            for chunk in chunks(all_there, _chunk_size(all_there[0][1]))
        ]
        replies = await asyncio.gather(*(call for _, call in calls), return_exceptions=True)
        full: list[Outgoing] = []
        for (chunk, _), reply in zip(calls, replies, strict=True):
            if isinstance(reply, BaseException):
                raise reply
            full += [chunk[at] for at in reply]
        return full


def _chunk_size(body: bytes) -> int:
    """Return the number of destinations of one call, which the server serves in one go."""
    return max(1, min(MAX_COALESCED, MAX_CALL_BYTES // len(body)))
