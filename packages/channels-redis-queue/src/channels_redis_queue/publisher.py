"""Publish messages to message keys: several in one script call, and to all members of a group."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import ResponseError

from . import keys, scripts
from ._shared.clock import monotonic
from ._shared.messages.serializers import EXCLUDE, POSITION
from ._shared.transport.commands import chunks
from ._shared.transport.pipeline import MAX_COALESCED
from .groups import MembersQuery
from .protocol.group_cache import LIVENESS_CHECK_INTERVAL, GroupCache

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Sequence

    from ._shared.transport.commands import Command, CommandClient, Shards
    from .config import QueueSettings
    from .groups import Groups
    from .protocol.group_cache import Destination, GroupSnapshot

logger = logging.getLogger(__package__)

# Seconds that a reader has to take from a full key, and those between two tries to send to it.
STALL_TIMEOUT = 0.5
MIN_RETRY_DELAY = 0.002
MAX_RETRY_DELAY = 0.02
# Bytes that one call adds to all its message keys.
MAX_CALL_BYTES = 32_000_000
# Full keys that are remembered.
MAX_FULL_KEYS = 10_000


class OutgoingMessage(NamedTuple):
    """A message on its way to a message key."""

    key: str
    bell: str
    # The messages that may wait in the key; 0 for a leave, which is always added.
    capacity: int
    # As Redis gets it. Messages that share one object are sent as one.
    body: bytes


class ExpectedMembers(NamedTuple):
    """The names that a group must have for a message to be sent to it."""

    group_key: str
    # In seconds.
    group_expiry: int
    # The SHA-1 of the names, as GROUP_MEMBERS returns them.
    digest: str


class SendBatch(NamedTuple):
    """Coalesce messages into one command, whose reply lists those that found their key full."""

    # Seconds that a message lives.
    expiry: int
    # Without them, messages are sent unconditionally.
    expected: ExpectedMembers | None = None

    async def send(
        self,
        messages: Sequence[OutgoingMessage],
        commands: CommandClient,
        *,
        idempotent: bool = False,
    ) -> Any:
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
        # Half of what a key holds.
        quotas = {message.key: max(1, message.capacity // 2) for message in messages}
        size = len(messages[0].body) if len(messages) == 1 else body_size(messages)
        return await commands.execute_coalesced(
            messages, self, size, key=messages[0].key, quotas=quotas, idempotent=idempotent
        )

    def command(self, parts: Sequence[Sequence[OutgoingMessage]]) -> Command:
        """Return the command that adds all messages."""
        names: list[str] = []
        guard: tuple[int, str] = 0, ""
        if self.expected is not None:
            names.append(self.expected.group_key)
            guard = self.expected.group_expiry, self.expected.digest
        # Each key is named once: many messages are for one process, and a key is as long as they.
        destinations: dict[str, int] = {}
        # Each body is sent once: the message of a group is for many processes.
        bodies: dict[int, tuple[int, bytes]] = {}
        numbers: list[str] = []
        for messages in parts:
            for key, bell, capacity, body in messages:
                destination = destinations.get(key)
                if destination is None:
                    destination = destinations[key] = len(destinations) + 1
                    names += (key, bell)
                number, _ = bodies.setdefault(id(body), (len(bodies) + 1, body))
                numbers.append(f"{destination} {capacity} {number}")
        return scripts.SEND.call(
            names,
            self.expiry,
            *guard,
            " ".join(numbers),
            *[body for _, body in bodies.values()],
        )

    def replies(self, reply: Any, parts: Sequence[Sequence[OutgoingMessage]]) -> list[Any]:
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


def body_size(messages: Sequence[OutgoingMessage]) -> int:
    """Return the bytes of the bodies of some messages, each counted once."""
    if len(messages) == 1:
        return len(messages[0].body)
    return sum(len(body) for body in {id(each.body): each.body for each in messages}.values())


class GroupMessage:
    """A message to a group, as the bytes that each destination gets.

    The processes of this layer get the same bytes, which name the group: each knows its members.

    Args:
        group: The group.
        message: The message.
        settings: The layer's options.
    """

    def __init__(self, group: str, message: dict[str, Any], settings: QueueSettings) -> None:
        self.group = group
        self.message = message
        self._settings = settings
        self._shared: bytes | None = None

    def body_for(self, destination: Destination) -> bytes:
        """Return the bytes for a destination.

        Raises:
            TypeError: A part of the message cannot be serialized.
        """
        names, settings, message = destination.names, self._settings, self.message
        if len(names) == 1 and keys.is_virtual(names[0]):
            if self._shared is None:
                self._shared = settings.encode({**message, keys.GROUP_FIELD: self.group})
            return self._shared
        if EXCLUDE in message and not any(map(keys.is_virtual, names)):
            # Names of single channels have been left out already.
            message = {key: value for key, value in message.items() if key != EXCLUDE}
        if settings.encrypts or "!" in destination.address:
            message = {**message, keys.CHANNELS_FIELD: names}
        return settings.encode(message)

    def destinations_in(self, snapshot: GroupSnapshot) -> list[Destination]:
        """Return the destinations of a group, without the excluded channels."""
        if EXCLUDE not in self.message:
            return snapshot.destinations
        excluded = self.message[EXCLUDE]
        kept = (
            replace(one, names=[name for name in one.names if name not in excluded])
            for one in snapshot.destinations
        )
        return [one for one in kept if one.names]

    def batch(self, destinations: Sequence[Destination]) -> list[OutgoingMessage]:
        """Return what is sent to some destinations."""
        return [
            OutgoingMessage(one.key, one.bell, one.capacity, self.body_for(one))
            for one in destinations
        ]


class Publisher:
    """Publish to groups, on behalf of one layer in one process.

    Args:
        settings: The layer's options.
        groups: Removes dead processes.
    """

    def __init__(self, settings: QueueSettings, groups: Groups) -> None:
        self._settings = settings
        self._groups = groups
        self._group_cache = GroupCache(settings.keys, settings.key_capacity)
        # The message keys that were full, and the `monotonic()` from which their readers count
        # as stalled if they make no room.
        self._stalled_from: dict[str, float] = {}

    async def publish(
        self, group: str, message: dict[str, Any], shards: Shards, exclude: Collection[str] = ()
    ) -> None:
        """Send a message to the members of a group, except those excluded.

        Those whose key is full miss it, unless their process takes messages meanwhile.
        """
        if exclude:
            # A process removes these from the members that a virtual channel stands for.
            message = {**message, EXCLUDE: exclude}
        settings = self._settings
        if settings.history and (limits := settings.history.limits(group)) is not None:
            # First of all: what then does not reach a member is found there.
            data, commands = settings.encode(message), shards.of(group)
            positions = await settings.store.append(group, data, limits, commands)
            message = {**message, POSITION: " ".join(positions)}
        outgoing = GroupMessage(group, message, settings)
        names = await self._publish_optimistically(outgoing, shards)
        if names is None:
            return
        snapshot = self._group_cache.update(group, names)
        destinations = outgoing.destinations_in(snapshot)
        full = await self._send(destinations, outgoing, shards)
        if self._stalled_from or full:
            await self._wait_for_room(destinations, full, snapshot, outgoing, shards)
        await self._remove_dead(snapshot, shards)

    async def send_leave(self, group: str, channel: str, at: float, shards: Shards) -> None:
        """Tell a channel's process, in order with its messages, that it has left a group.

        Args:
            group: The group.
            channel: The channel.
            at: The time by which its membership began, in microseconds' precision.
            shards: The command connections.
        """
        settings, address = self._settings, keys.non_local(channel)
        queue = settings.keys.messages(address)
        leave = {keys.CHANNELS_FIELD: channel, keys.LEAVE_FIELD: f"{group} {at!r}"}
        message = OutgoingMessage(queue.key, queue.bell, 0, settings.encode(leave))
        await SendBatch(settings.expiry).send([message], shards.of(address), idempotent=True)

    async def _publish_optimistically(self, message: GroupMessage, shards: Shards) -> bytes | None:
        """Send to the members that the group had last time, if it still has the same.

        Most groups change less often than they are sent to. Then this takes one round trip;
        otherwise as many as reading the members.

        Returns:
            None if the message was sent; else the names that the group has.
        """
        settings, group = self._settings, message.group
        snapshot = self._group_cache.get(group) if shards.are_one_place else None
        if snapshot is None or not snapshot.may_send_optimistically(0):
            # Even if the group is empty: an invalid message must not fail only once it has members.
            settings.encode(message.message)
            return await self._read_names(group, shards)
        destinations = message.destinations_in(snapshot)
        batch = message.batch(destinations)
        if not batch or not snapshot.may_send_optimistically(body_size(batch)):
            return await self._read_names(group, shards)
        if snapshot.guard is None:
            expected = ExpectedMembers(snapshot.key, settings.group_expiry, snapshot.digest)
            snapshot.guard = SendBatch(settings.expiry, expected)
        reply = await snapshot.guard.send(batch, shards.of(group))
        if isinstance(reply, bytes):
            return reply
        snapshot.confirmed = True
        if self._stalled_from or reply:
            # Not a comprehension, which would cost each call a cell before Python 3.12.
            full = list(map(destinations.__getitem__, reply))
            await self._wait_for_room(destinations, full, snapshot, message, shards)
        await self._remove_dead(snapshot, shards)
        return None

    async def _read_names(self, group: str, shards: Shards) -> bytes:
        query = MembersQuery(self._settings.keys.group(group), self._settings.group_expiry)
        return await query.read(shards.of(group))

    async def _wait_for_room(
        self,
        destinations: list[Destination],
        full: list[Destination],
        snapshot: GroupSnapshot,
        message: GroupMessage,
        shards: Shards,
    ) -> None:
        """Send again to those that were full until they have room; count those that had none.

        A burst fills a key faster than a busy reader empties it. A reader that takes nothing costs
        each sender this wait once, until it takes again.
        """
        dropped = 0
        delay = MIN_RETRY_DELAY
        while True:
            for key in {one.key for one in destinations} - {one.key for one in full}:
                self._stalled_from.pop(key, None)
            if len(self._stalled_from) > MAX_FULL_KEYS:
                self._stalled_from.clear()
            now = monotonic()
            destinations = []
            for one in full:
                if now < self._stalled_from.setdefault(one.key, now + STALL_TIMEOUT):
                    destinations.append(one)
                else:
                    dropped += len(one.names)
            if not destinations:
                break
            await asyncio.sleep(delay)
            delay = min(2 * delay, MAX_RETRY_DELAY)
            full = await self._send(destinations, message, shards)
        if dropped:
            self._settings.counters.over_capacity += dropped
            logger.info(
                "%s of %s channels over capacity in group %s",
                dropped,
                snapshot.members,
                snapshot.group,
            )

    async def _send(
        self, destinations: list[Destination], message: GroupMessage, shards: Shards
    ) -> list[Destination]:
        """Send to destinations in any places; return those that were full."""
        # A script's keys are on one shard and, in a Cluster, in one slot.
        by_place: dict[tuple[int, int | None], list[Destination]] = {}
        for destination in destinations:
            shard = self._settings.shard_to(destination.address)
            place = shard, shards[shard].slot(destination.key)
            by_place.setdefault(place, []).append(destination)
        full = await _all(
            [
                self._send_chunk(chunk, message, shards[shard])
                for (shard, _), all_there in by_place.items()
                for chunk in chunks(all_there, _chunk_size(message.body_for(all_there[0])))
            ]
        )
        return [one for chunk in full for one in chunk]

    async def _send_chunk(
        self, chunk: Sequence[Destination], message: GroupMessage, commands: CommandClient
    ) -> list[Destination]:
        """Send to destinations of one place; return those that were full."""
        full = await SendBatch(self._settings.expiry).send(message.batch(chunk), commands)
        return [chunk[position] for position in full]

    async def _remove_dead(self, snapshot: GroupSnapshot, shards: Shards) -> None:
        """Remove dead processes from a group, if a check for them is due."""
        now = monotonic()
        if now >= snapshot.next_liveness_check:
            snapshot.next_liveness_check = now + LIVENESS_CHECK_INTERVAL
            await self._groups.remove_dead(snapshot.group, snapshot.destinations, shards)


async def _all(sends: list[Coroutine[Any, Any, list[Destination]]]) -> list[list[Destination]]:
    """Await all sends, even after one has failed; return their results or raise its error."""
    if len(sends) == 1:
        # The usual case, without the task that gather would make.
        return [await sends[0]]
    results = await asyncio.gather(*sends, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if isinstance(result, list)]


def _chunk_size(body: bytes) -> int:
    """Return the number of destinations of one call, which the server serves in one go."""
    return max(1, min(MAX_COALESCED, MAX_CALL_BYTES // len(body)))
