"""Follow the histories of groups for their members in one event loop.

A member is current, or it is behind and gets nothing until the history was read. After a gap or a
lost connection all members are behind; one that joins is so alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from redis.exceptions import RedisError

from ..transport.errors import is_transient
from .backlog import Wait
from .outlet import GroupOutlet
from .positions import is_after
from .results import Joined
from .store import Question

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence

    from .backlog import Backlog
    from .positions import HistoryEntry, Replay
    from .settings import HistorySettings

# Positions to go back to on a server that has lost its latest messages.
MAX_TRAIL = 64
# Messages that may arrive during a read; after more it starts over.
MAX_ARRIVED = 1000
# Reads to close gaps that are under way at once: as many go out in one write.
MAX_READS = 100
# Each lasts as long as the host's timeout while the server is away.
READ_ATTEMPTS = 3

Key = TypeVar("Key")


class Join(Wait):
    """The wait of one channel that is behind alone.

    Attributes:
        follower: That of the group.
        at: The position up to which an earlier membership has got all messages; empty without one.
        since: The position from which on the channel wants messages.
        rewind: The number of latest messages that it wants otherwise.
        result: Its place, or the error of the read for it; None before.
        is_resumed: True if no call waits for the result: an earlier membership goes on.
    """

    def __init__(self, follower: Follower[Any], channel: str, at: str) -> None:
        super().__init__(channel)
        self.follower = follower
        self.at = at
        self.since: str | None = None
        self.rewind = 0
        self.result: Joined | RedisError | None = None
        self.is_resumed = False


class Follower(Generic[Key]):
    """The members that a group has in one broker, and how far they are in its history.

    Args:
        key: The group's key among all followers.
        outlet: Delivers to the members.
        followers: What the followers of all groups share.
    """

    def __init__(self, key: Key, outlet: GroupOutlet, followers: Followers[Key]) -> None:
        self._key = key
        self._outlet = outlet
        self._all = followers
        self._counters = followers.settings.counters
        # The positions of the latest messages that the current members have got.
        self._trail: deque[str] = deque(maxlen=MAX_TRAIL)
        # The waits of all members after a gap, if there is one.
        self._gap: dict[str, Wait] | None = None
        # Identifies what reads for them and for resumed joins; and what is called then.
        self._repair: object = None
        self._then: Callable[[], object] | None = None
        # The channels that wait alone, and those of the waits that a read may end.
        self._joins: dict[str, list[Join]] = {}
        self._ready: dict[Join, None] = {}
        # Done at the end of the read under way; and what has arrived meanwhile. If this is
        # replaced, the read starts over.
        self._reading: Future[None] | None = None
        self._arrived: list[HistoryEntry] = []

    @property
    def position(self) -> str:
        """The position of the latest message; empty before the first read."""
        return self._trail[-1] if self._trail else ""

    @property
    def has_joins(self) -> bool:
        """True while a channel joins."""
        return bool(self._joins)

    def is_behind(self, channel: str) -> bool:
        """Return whether a member waits for what it has missed."""
        return self._gap is not None or channel in self._joins

    def close(self) -> None:
        """Deliver nothing any more: the group is forgotten, and may get another follower."""
        self._arrived = []
        # A read under way delivers nothing without it.
        self._trail.clear()
        for join in [join for joins in self._joins.values() for join in joins]:
            self._end_join(join)
        self._end_gap()

    def stop(self) -> None:
        """Stop what was under way in an event loop that has ended, until `fall_behind`."""
        # Calls that end late change nothing here.
        self._repair = self._reading = None
        self._arrived = []
        for joins in list(self._joins.values()):
            for join in joins[1:] if joins[0].at else list(joins):
                self._end_join(join)
            if joins and joins[0].at:
                self._resume(joins[0])

    def on_message(self, entry: HistoryEntry) -> None:
        """Deliver a message, or read the history if others may be missing before it."""
        if self._reading is not None:
            if len(self._arrived) >= MAX_ARRIVED:
                self._arrived = []
            self._arrived.append(entry)
        trail = self._trail
        is_read = self._gap is not None or (self._joins and not trail)
        if is_read or self._ready:
            self._start_repair()
        if is_read:
            return
        if not trail or entry.previous == trail[-1]:
            trail.append(entry.position)
            self._deliver((entry,))
        elif entry.position not in trail:
            self.fall_behind()

    def fall_behind(self, then: Callable[[], object] | None = None) -> None:
        """Deliver nothing until the history was read, and call a function then."""
        # The server may have executed a read under way before it lost something.
        self._arrived = []
        self._then = then or self._then
        if not self._trail:
            self._call_then()
        elif self._gap is None:
            self._gap = {channel: Wait(channel) for channel in self._outlet.members()}
            for wait in self._gap.values():
                self._all.backlog.begin(wait)
        self._repair = None
        self._start_repair()

    def begin_join(self, channel: str, *, is_member: bool) -> Join:
        """Deliver nothing to a channel until `join` or `cancel_join`."""
        joins = self._joins.setdefault(channel, [])
        at = self.position if is_member else ""
        join = Join(self, channel, joins[0].at if joins else at)
        joins.append(join)
        self._all.backlog.begin(join)
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
        if wants_nothing and head and self._gap is None and join.at in {"", head}:
            self._end_join(join)
            return Joined(head, recovered=True)
        join.since, join.rewind = since, rewind
        while join.result is None:
            self._ready[join] = None
            await self._read()
        if isinstance(join.result, RedisError):
            raise join.result
        return join.result

    def cancel_join(self, join: Join) -> None:
        """End a join that has failed. An earlier membership goes on where it was."""
        if join.at and self._joins.get(join.channel) == [join]:
            self._resume(join)
            self._start_repair()
        else:
            self._end_join(join)

    def drop_join(self, join: Join) -> None:
        """End a join that the garbage collector has ended, perhaps amid another call."""
        joins = self._joins.get(join.channel, [])
        if join in joins:
            joins.remove(join)
            if not joins:
                self._joins.pop(join.channel, None)
        self._ready.pop(join, None)
        join.is_over = True

    def _resume(self, join: Join) -> None:
        """Let the next read deliver to a member what it has missed."""
        join.since, join.rewind, join.is_resumed = join.at, 0, True
        self._ready[join] = None

    @property
    def _needs_repair(self) -> bool:
        """True if members wait for a read and no call makes one."""
        return self._gap is not None or any(join.is_resumed for join in self._ready)

    def _start_repair(self) -> None:
        if self._repair is None and self._needs_repair:
            self._repair = repair = object()
            if not self._all.start(self._close_gap(repair)):
                self._repair = None  # the next message, or the next event loop, tries again

    async def _close_gap(self, repair: object) -> None:
        """Read what members have missed; tell them if that can't be read."""
        attempts = READ_ATTEMPTS
        try:
            async with self._all.slots:
                while attempts and self._repair is repair and self._needs_repair:
                    error = await self._read()
                    if error is not None:
                        self._outlet.report_failure(error)
                        attempts = attempts - 1 if is_transient(error) else 0
            if self._repair is repair:
                self._give_up()
                self._call_then()
        finally:
            if self._repair is repair:
                self._repair = None

    def _give_up(self) -> None:
        """Tell those that still miss something; they stay where they are."""
        if self._gap is not None:
            self._deliver((), "its history can't be read")
            self._end_gap()
        for join in [join for join in self._ready if join.is_resumed]:
            self._counters.unrecovered += 1
            self._outlet.notify_gap(self.position, (join.channel,), {join.channel: join})
            self._end_join(join)

    async def _read(self) -> RedisError | None:
        """Read the history until nothing is missing, for all that wait for that.

        One read is under way at a time. If there is one, wait for its end, and do nothing.

        Returns:
            What has failed, if anything.
        """
        current, mine = self._reading, Future[None]()
        if current is None:
            self._reading = mine
        if current is not None:
            await asyncio.shield(asyncio.wrap_future(current))
            return None
        joins: list[Join] = []
        is_repeated = False
        try:
            while True:
                arrived = self._arrived = []
                joins, head = list(self._ready), self.position
                # A server that has lost its latest messages goes on from an earlier one.
                oldest = self._trail[0] if is_repeated and head else head
                starts = [join.since or join.at for join in joins]
                rewind = max((join.rewind for join in joins), default=0)
                question = Question.after(oldest, *starts, latest=rewind)
                replay = await self._all.read(self._key, question)
                extended = replay.extended(arrived)
                if (
                    arrived is self._arrived
                    and all(self._is_read(entry, extended) for entry in arrived)
                    and not self._is_on_trail(starts, extended, head, oldest)
                ):
                    self._advance(extended)
                    for join in joins:
                        if join in self._ready:
                            self._admit(join, replay.position, extended)
                    return None
                is_repeated = True
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
        trail, position = self._trail, entry.position
        if position in replay or position in trail:
            return True
        # Sent before the first member joined.
        return not trail and not is_after(position, replay.position)

    def _is_on_trail(self, starts: list[str], replay: Replay, head: str, oldest: str) -> bool:
        """Return whether a read of the whole trail may find what this one has not.

        Args:
            starts: The positions of channels that join.
            replay: What was read.
            head: The position of the members when the read began.
            oldest: The position from which it was read.
        """
        trail = self._trail
        if self.position == head and head and not is_after(oldest, trail[0]):
            return False
        return any(one in trail and one not in replay for one in (self.position, *starts))

    def _after(self, replay: Replay, position: str) -> Sequence[HistoryEntry] | None:
        """Return what follows a position, or one before it that the server still has.

        Returns:
            None if some of it may be missing.
        """
        missed = replay.after(position)
        if missed is None and position in self._trail:
            earlier = list(self._trail)[: self._trail.index(position)]
            found = next((one for one in reversed(earlier) if one in replay), "")
            missed = replay.after(found)
        return missed

    def _advance(self, replay: Replay) -> None:
        """Deliver to the members that don't wait alone what a read has brought."""
        trail, head = self._trail, self.position
        missed = self._after(replay, head) if head else ()
        fault = ""
        if missed is None:
            fault = "its history no longer has them all"
            # Only newer ones have certainly not been delivered before.
            missed = [entry for entry in replay.entries if is_after(entry.position, head)]
            trail.clear()
        trail.extend(entry.position for entry in missed)
        if self.position != replay.position:
            trail.append(replay.position)
        self._counters.replayed += self._deliver(missed, fault)
        self._end_gap()

    def _deliver(self, entries: Sequence[HistoryEntry], fault: str = "") -> int:
        """Deliver messages to the members that don't wait alone; tell them first of a gap.

        Args:
            entries: The messages.
            fault: The reason why others are missing, if there is one.

        Returns:
            The number of messages that could be read.
        """
        members = self._outlet.members(self._joins)
        if not members:
            return 0
        readable = self._outlet.readable(entries)
        if len(readable) < len(entries):
            fault = fault or "some can't be read"
        if fault:
            self._counters.unrecovered += 1
            self._outlet.report_gap(fault)
            self._outlet.notify_gap(self.position, members, self._gap)
        self._outlet.put(readable, members, self._gap)
        return len(readable)

    def _admit(self, join: Join, start: str, replay: Replay) -> None:
        """Deliver to a channel what it has missed: it is current then."""
        since, rewind = join.since, join.rewind
        missed = self._after(replay, join.at or start if since is None else since)
        readable = self._outlet.readable(missed or ())
        recovered = missed is not None and len(readable) == len(missed)
        if rewind and (since is None or not recovered):
            readable = max(readable, self._outlet.readable(replay.latest[-rewind:]), key=len)
        self._counters.replayed += len(readable)
        self._counters.unrecovered += not recovered
        if join.channel in self._outlet.members():
            if join.is_resumed and not recovered:
                self._outlet.notify_gap(self.position, (join.channel,), {join.channel: join})
            self._outlet.put(readable, (join.channel,), {join.channel: join})
        for other in self._joins.get(join.channel, ()):
            other.at = self.position
        self._end_join(join)
        join.result = Joined(readable[0].previous if readable else self.position, recovered)

    def _end_gap(self) -> None:
        gap, self._gap = self._gap, None
        self._all.backlog.end((gap or {}).values())

    def _end_join(self, join: Join) -> None:
        self.drop_join(join)
        self._all.backlog.end((join,))

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
        backlog: Holds back what channels get later.
        settings: The layer's options.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it connects
        self,
        read: Callable[[Key, Question], Awaitable[Replay]],
        members: Callable[[Key], Collection[str]],
        group_of: Callable[[Key], str],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        backlog: Backlog,
        settings: HistorySettings,
    ) -> None:
        self.read = read
        self.backlog = backlog
        self.settings = settings
        self._members = members
        self._group_of = group_of
        self._spawn = spawn
        self._followers: dict[Key, Follower[Key]] = {}
        # Bounds the reads under way.
        self.slots = asyncio.Semaphore(MAX_READS)
        # Returns the follower of a group, or None.
        self.find = self._followers.get

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self._followers)

    def begin_join(self, key: Key, channel: str, *, is_member: bool) -> Join:
        """Deliver nothing of a group to a channel until its follower ends the join."""
        follower = self._followers.get(key)
        if follower is None:
            follower = self._followers[key] = Follower(key, self._outlet(key), self)
        return follower.begin_join(channel, is_member=is_member)

    def stop(self) -> None:
        """Stop what was under way in an event loop that has ended."""
        self.slots = asyncio.Semaphore(MAX_READS)
        for follower in self._followers.values():
            follower.stop()

    def position(self, key: Key) -> str:
        """Return the position of a group's latest message; empty if it is not followed."""
        follower = self._followers.get(key)
        return "" if follower is None else follower.position

    def on_message(self, key: Key, entry: HistoryEntry) -> None:
        """Deliver a message of a group, also if its members here don't follow it."""
        follower = self._followers.get(key)
        if follower is not None:
            follower.on_message(entry)
            return
        outlet = self._outlet(key)
        outlet.put(outlet.readable((entry,)), outlet.members())

    def after(self, key: Key, channel: str, action: Callable[[], object]) -> None:
        """Do something once a channel has what it waits for in a group."""
        follower = self._followers.get(key)
        is_behind = follower is not None and follower.is_behind(channel)
        if not is_behind or not self.backlog.hold(channel, action):
            action()

    def forget(self, key: Key) -> None:
        """Forget a group that has no members here, unless a channel joins it just now."""
        follower = self._followers.get(key)
        if follower is not None and not follower.has_joins:
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

    def _outlet(self, key: Key) -> GroupOutlet:
        members = partial(self._members, key)
        return GroupOutlet(self._group_of(key), members, self.backlog, self.settings)
