"""Follow the histories of groups for their members in one event loop.

A member is current, or it is behind and gets nothing until the history was read. After a gap or a
lost connection all members are behind; one that joins is so alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from redis.exceptions import RedisError

from ..clock import monotonic
from ..delivery.mailboxes import Notice, Wait
from ..messages.serializers import POSITION
from ..transport.errors import is_transient
from . import Joined
from .store import Question, is_after

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence

    from ..delivery.mailboxes import Mailboxes
    from .settings import HistorySettings
    from .store import HistoryEntry, Replay

# Positions to step back to on a server that has lost its latest messages.
MAX_TRAIL = 64
# Messages that may arrive during a read; after more it starts over.
MAX_ARRIVED = 1000
# Reads to close gaps that are under way at once: as many go out in one write.
MAX_READS = 100
# Each lasts as long as the host's timeout while the server is away.
READ_ATTEMPTS = 3

Key = TypeVar("Key")


def readable(
    group: str, entries: Sequence[HistoryEntry], settings: HistorySettings
) -> list[HistoryEntry]:
    """Return the messages that can be decoded, each decoded once, and warn of the others."""
    found = []
    for entry in entries:
        try:
            if entry.decoded is None:
                entry.decoded = settings.decoder.decode(entry.data, entry.position)
        except Exception as error:  # noqa: BLE001 - a user's serializer may raise anything
            settings.report_unreadable(group, error)
        else:
            found.append(entry)
    return found


class GapNotice(Notice):
    """The notice that messages of a group may be missing."""

    __slots__ = ("_group", "_position")

    def __init__(self, message_type: str, group: str, position: str) -> None:
        super().__init__(message_type)
        self._group = group
        self._position = position

    def copy(self) -> dict[str, Any]:
        """Return the message as a dict of the caller's own."""
        return {
            "type": self.type,
            "group": self._group,
            "recovered": False,
            POSITION: self._position,
        }


class Join(Wait):
    """The wait of one channel that joins: it is behind alone.

    Attributes:
        follower: That of the group.
        calls: The number of calls that wait for it.
        is_ready: True once a read may end it: the channel gets new messages.
        since: The position from which on the channel wants messages.
        rewind: The number of latest messages that it wants otherwise.
        result: Its place, or the error of the read for it; None before.
    """

    def __init__(self, follower: Follower[Any], channel: str) -> None:
        super().__init__(channel)
        self.follower = follower
        self.calls = 0
        self.is_ready = False
        self.since: str | None = None
        self.rewind = 0
        self.result: Joined | RedisError | None = None


class Follower(Generic[Key]):
    """The members that a group has in one broker, and how far they are in its history.

    Args:
        key: The group's key among all followers.
        followers: What the followers of all groups share.

    Attributes:
        joins: The channels that wait alone.
    """

    def __init__(self, key: Key, followers: Followers[Key]) -> None:
        self._key = key
        self._all = followers
        self._group = followers.group_of(key)
        self._settings = followers.settings
        self.joins: dict[str, Join] = {}
        # The positions of the latest messages that the current members have got.
        self._trail: deque[str] = deque(maxlen=MAX_TRAIL)
        # The waits of all members after a gap, if there is one.
        self._gap: dict[str, Wait] | None = None
        # Identifies what reads for them; and what is called then.
        self._repair: object = None
        self._then: Callable[[], object] | None = None
        # Done at the end of the read under way; and what has arrived meanwhile. If this is
        # replaced, the read starts over.
        self._reading: Future[None] | None = None
        self._arrived: list[HistoryEntry] = []

    @property
    def position(self) -> str:
        """The position of the latest message; empty before the first read."""
        return self._trail[-1] if self._trail else ""

    def is_behind(self, channel: str) -> bool:
        """Return whether a member waits for what it has missed."""
        return self._gap is not None or channel in self.joins

    def close(self) -> None:
        """Deliver nothing any more: the group is forgotten, and may get another follower."""
        self._arrived = []
        # A read under way delivers nothing without it.
        self._trail.clear()
        self._end_joins()
        self._end_gap()

    def stop(self) -> None:
        """Stop what was under way in an event loop that has ended, until `fall_behind`."""
        # Calls that end late change nothing here.
        self._repair = self._reading = None
        self._arrived = []
        self._end_joins()

    def on_message(self, entry: HistoryEntry) -> None:
        """Deliver a message, or read the history if others may be missing before it."""
        if self._reading is not None:
            if len(self._arrived) >= MAX_ARRIVED:
                self._arrived = []
            self._arrived.append(entry)
        if self._gap is not None:
            self._start_repair()
        elif not self.position and self.joins:
            return  # the read for them brings it
        elif not self.position or entry.previous == self.position:
            self._trail.append(entry.position)
            self._deliver((entry,))
        elif entry.position not in self._trail:
            self.fall_behind()

    def fall_behind(self, then: Callable[[], object] | None = None) -> None:
        """Deliver nothing until the history was read, and call a function then."""
        # The server may have executed a read under way before it lost something.
        self._arrived = []
        self._then = then or self._then
        if not self.position:
            self._call_then()
            return
        if self._gap is None:
            self._gap = {channel: Wait(channel) for channel in self._all.members(self._key)}
            for wait in self._gap.values():
                self._all.mailboxes.hold(wait)
        self._repair = None
        self._start_repair()

    def begin_join(self, channel: str) -> Join:
        """Deliver nothing to a channel until `join` or `cancel_join`; its calls share a wait."""
        join = self.joins.get(channel)
        if join is None:
            join = self.joins[channel] = Join(self, channel)
            self._all.mailboxes.hold(join)
        join.calls += 1
        return join

    async def join(self, join: Join, since: str | None, rewind: int) -> Joined:
        """Deliver to a channel what it has missed, and from now on all that comes.

        Args:
            join: What `begin_join` has returned.
            since: The position from which on the channel wants messages.
            rewind: The number of latest messages that it wants otherwise.

        Raises:
            redis.exceptions.RedisError: As `CommandClient.execute`. Call `cancel_join` then.
        """
        head = self.position
        wants_nothing = since == head or (since is None and not rewind)
        if wants_nothing and head and self._gap is None:
            join.result = Joined(head, recovered=True)
            self._end_join(join)
        join.since, join.rewind, join.is_ready = since, rewind, True
        while join.result is None:
            await self._read()
        if isinstance(join.result, RedisError):
            raise join.result
        return join.result

    def cancel_join(self, join: Join) -> None:
        """End a join that has failed, unless another call waits for it."""
        join.calls -= 1
        if not join.calls:
            self._end_join(join)

    def _start_repair(self) -> None:
        if self._repair is None:
            self._repair = repair = object()
            if not self._all.start(self._close_gap(repair)):
                self._repair = None  # the next message, or the next event loop, tries again

    async def _close_gap(self, repair: object) -> None:
        """Read what members have missed; notify them if that can't be read."""
        attempts = READ_ATTEMPTS
        try:
            async with self._all.slots:
                while attempts and self._repair is repair and self._gap is not None:
                    error = await self._read()
                    if error is not None:
                        self._settings.faults.warning(
                            "The history of %s can't be read: %s", self._group, error
                        )
                        attempts = attempts - 1 if is_transient(error) else 0
            if self._repair is repair:
                if self._gap is not None:
                    # They stay where they are.
                    self._deliver((), "its history can't be read")
                    self._end_gap()
                self._call_then()
        finally:
            if self._repair is repair:
                self._repair = None

    async def _read(self) -> RedisError | None:
        """Read the history until nothing is missing, for all that wait for that.

        One read is under way at a time. If there is one, wait for its end, and do nothing.

        Returns:
            What has failed, if anything.
        """
        if self._reading is not None:
            await asyncio.shield(asyncio.wrap_future(self._reading))
            return None
        self._reading = mine = Future[None]()
        joins: list[Join] = []
        start = self.position
        try:
            while True:
                arrived = self._arrived = []
                joins = [join for join in self.joins.values() if join.is_ready]
                rewind = max((join.rewind for join in joins), default=0)
                question = Question.after(start, *(join.since for join in joins), latest=rewind)
                replay = await self._all.read(self._key, question)
                extended, trail = replay.extended(arrived), self._trail
                missed = extended.after(*reversed(trail)) if trail else ()
                if missed is None and start != trail[0]:
                    # The server has lost the latest messages: it has an earlier one, at lower ids.
                    start = trail[0]
                elif arrived is self._arrived and all(
                    self._is_read(entry, extended) for entry in arrived
                ):
                    self._advance(extended, missed)
                    for join in joins:
                        if self.joins.get(join.channel) is join:
                            self._admit(join, replay.position, extended)
                    return None
        except RedisError as error:
            for join in joins:
                join.result = error
            return error
        finally:
            if self._reading is mine:
                self._reading = None
            mine.set_result(None)

    def _is_read(self, entry: HistoryEntry, replay: Replay) -> bool:
        """Return whether nothing is missing before a message that has arrived during a read."""
        if entry.position in replay or entry.position in self._trail:
            return True
        # Sent before the first member joined.
        return not self._trail and not is_after(entry.position, replay.position)

    def _advance(self, replay: Replay, missed: Sequence[HistoryEntry] | None) -> None:
        """Deliver to the members that don't wait alone what a read has brought.

        Args:
            replay: What was read.
            missed: The messages that follow those that members have got; None if some are missing.
        """
        trail, head, fault = self._trail, self.position, ""
        if missed is None:
            fault = "its history no longer has them all"
            # Only newer ones have certainly not been delivered before.
            missed = [entry for entry in replay.entries if is_after(entry.position, head)]
            trail.clear()
        trail.extend(entry.position for entry in missed)
        if self.position != replay.position:
            trail.append(replay.position)
        self._settings.counters.replayed += self._deliver(missed, fault)
        self._end_gap()

    def _deliver(self, entries: Sequence[HistoryEntry], fault: str = "") -> int:
        """Deliver messages to the members that don't wait alone; notify them first of a gap.

        Args:
            entries: The messages.
            fault: The reason why others are missing, if there is one.

        Returns:
            The number of messages that could be read.
        """
        members, settings = self._all.members(self._key), self._settings
        if self.joins:
            members = [one for one in members if one not in self.joins]
        if not members:
            return 0
        found = readable(self._group, entries, settings)
        if len(found) < len(entries):
            fault = fault or "some can't be read"
        if fault:
            settings.counters.unrecovered += 1
            settings.faults.warning(
                "Messages of the group %s may be missing: %s", self._group, fault
            )
            if settings.on_gap is not None:
                notice = GapNotice(settings.on_gap, self._group, self.position)
                self._all.mailboxes.put(members, notice, awaited=self._gap)
        self._all.put(found, members, self._gap)
        return len(found)

    def _admit(self, join: Join, start: str, replay: Replay) -> None:
        """Deliver to a channel what it has missed: it is current then."""
        since, rewind, settings = join.since, join.rewind, self._settings
        missed = replay.after(start if since is None else since)
        found = readable(self._group, missed or (), settings)
        recovered = missed is not None and len(found) == len(missed)
        if rewind and (since is None or not recovered):
            latest = readable(self._group, replay.latest[-rewind:], settings)
            found = max(found, latest, key=len)
        settings.counters.replayed += len(found)
        settings.counters.unrecovered += not recovered
        if join.channel in self._all.members(self._key):
            self._all.put(found, (join.channel,), {join.channel: join})
        self._end_join(join)
        join.result = Joined(found[0].previous if found else self.position, recovered)

    def _end_gap(self) -> None:
        gap, self._gap = self._gap, None
        self._all.mailboxes.release((gap or {}).values())

    def _end_join(self, join: Join) -> None:
        if self.joins.get(join.channel) is join:
            del self.joins[join.channel]
        self._all.mailboxes.release((join,))

    def _end_joins(self) -> None:
        for join in list(self.joins.values()):
            self._end_join(join)

    def _call_then(self) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()


class Followers(Generic[Key]):
    """The followers of the groups that have members in one broker.

    Args:
        read: Reads the history of a group.
        members: Returns the members of a group.
        group_of: Returns the name of a group.
        spawn: Runs a coroutine in the background; returns None if there is no event loop for it.
        mailboxes: Those of the members.
        settings: The layer's options.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it connects
        self,
        read: Callable[[Key, Question], Awaitable[Replay]],
        members: Callable[[Key], Collection[str]],
        group_of: Callable[[Key], str],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        mailboxes: Mailboxes,
        settings: HistorySettings,
    ) -> None:
        self.read = read
        self.mailboxes = mailboxes
        self.settings = settings
        # Returns the members of a group.
        self.members = members
        self.group_of = group_of
        self._spawn = spawn
        self._followers: dict[Key, Follower[Key]] = {}
        # Bounds the reads under way.
        self.slots = asyncio.Semaphore(MAX_READS)
        # Returns the follower of a group, or None.
        self.find = self._followers.get

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self._followers)

    def begin_join(self, key: Key, channel: str) -> Join:
        """Deliver nothing of a group to a channel until its follower ends the join."""
        follower = self._followers.get(key)
        if follower is None:
            follower = self._followers[key] = Follower(key, self)
        return follower.begin_join(channel)

    def stop(self) -> None:
        """Stop what was under way in an event loop that has ended."""
        self.slots = asyncio.Semaphore(MAX_READS)
        for follower in self._followers.values():
            follower.stop()

    def place_of(self, key: Key, channel: str) -> Joined | None:
        """Return the place of a channel that is a member already; None if it is not, or joins."""
        follower = self._followers.get(key)
        if follower is None or channel in follower.joins or channel not in self.members(key):
            return None
        return Joined(follower.position, recovered=True)

    def on_message(self, key: Key, entry: HistoryEntry) -> None:
        """Deliver a message of a group, also if its members here don't follow it."""
        follower = self._followers.get(key)
        if follower is not None:
            follower.on_message(entry)
            return
        self.put(readable(self.group_of(key), (entry,), self.settings), self.members(key))

    def is_behind(self, key: Key, channel: str) -> bool:
        """Return whether a member of a group waits for what it has missed."""
        follower = self._followers.get(key)
        return follower is not None and follower.is_behind(channel)

    def forget(self, key: Key) -> None:
        """Forget a group that has no members here, unless a channel joins it just now."""
        follower = self._followers.get(key)
        if follower is not None and not follower.joins:
            follower.close()
            del self._followers[key]

    def clear(self) -> None:
        """Forget all groups."""
        for follower in self._followers.values():
            follower.close()
        self._followers.clear()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> bool:
        """Run a coroutine in the background; return whether an event loop does."""
        started = self._spawn(coroutine) is not None
        if not started:
            coroutine.close()
        return started

    def put(
        self,
        entries: Sequence[HistoryEntry],
        members: Collection[str],
        awaited: Mapping[str, Wait] | None = None,
    ) -> None:
        """Put readable messages into the mailboxes of members, except those that they exclude."""
        deadline = monotonic() + self.settings.expiry
        for entry in entries:
            message = entry.decoded
            channels = members
            if message.excluded:
                channels = [one for one in members if one not in message.excluded]
            if channels:
                self.mailboxes.put(channels, message, deadline, len(entry.data), awaited)
