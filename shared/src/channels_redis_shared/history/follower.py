"""Follow the histories of groups for their members in one process.

A member is current, or it is behind and gets nothing until the history was read. After a gap or a
lost connection all members are behind; one that joins is so alone.
"""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from redis.exceptions import RedisError

from ..transport.errors import is_transient
from .positions import is_after
from .results import Joined
from .store import Question

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence

    from .backlog import Backlog
    from .outlet import GroupOutlet
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
Result = TypeVar("Result")
# Orders all that members wait for.
_numbers = itertools.count(1)


class Join:
    """The wait of one channel that is behind: it joins, or has moved.

    Attributes:
        follower: That of the group.
        channel: The channel.
        at: The position up to which an earlier membership has got all messages; empty without one.
        number: Orders it among all waits.
    """

    def __init__(self, follower: Follower[Any], channel: str, at: str) -> None:
        self.follower = follower
        self.channel = channel
        self.at = at
        self.number = next(_numbers)


class Follower(Generic[Key]):
    """The members that a group has in one process, and how far they are in its history.

    Threads may share it.

    Args:
        key: The group's key among all followers.
        outlet: Delivers to the members.
        followers: What the followers of all groups share.
    """

    def __init__(self, key: Key, outlet: GroupOutlet, followers: Followers[Key]) -> None:
        self._key = key
        self._outlet = outlet
        self._all = followers
        self._lock = followers.lock
        self._counters = followers.settings.counters
        # The positions of the latest messages that the current members have got.
        self._trail: deque[str] = deque(maxlen=MAX_TRAIL)
        # The number of the gap for which all wait, or 0; and the channels that wait alone.
        self._gap = 0
        self._repair: object = None
        self._joins: dict[str, list[Join]] = {}
        # The reads under way, and what has arrived meanwhile. If this is replaced, they start over.
        self._reads: set[object] = set()
        self._arrived: list[HistoryEntry] = []

    @property
    def position(self) -> str:
        """The position of the latest message; empty before the first read."""
        return self._trail[-1] if self._trail else ""

    @property
    def has_joins(self) -> bool:
        """True while a channel joins."""
        return bool(self._joins)

    def waits_of(self, channel: str) -> Iterable[int]:
        """Return the numbers of what a member waits for."""
        joins = self._joins.get(channel)
        return [join.number for join in joins] if joins else [self._gap] if self._gap else ()

    def close(self) -> None:
        """Deliver nothing any more: the group is forgotten, and may get another follower."""
        with self._lock:
            self._gap, self._arrived = 0, []
            # A read under way delivers nothing without it.
            self._trail.clear()
            self._joins.clear()
            self._all.backlog.groups.discard(self)

    def stop(self) -> list[tuple[str, str]]:
        """Forget what was under way in an event loop that has ended, until `fall_behind`.

        Returns:
            The channels that were behind alone, each with its position.
        """
        behind = [(channel, joins[0].at) for channel, joins in self._joins.items() if joins[0].at]
        self._joins.clear()
        # Each is an object of its own, so that calls that have ended late change nothing here.
        self._reads, self._arrived, self._gap, self._repair = set(), [], 0, None
        self._all.backlog.groups.discard(self)
        return behind

    def on_message(self, entry: HistoryEntry) -> None:
        """Deliver a message, or read the history if others may be missing before it."""
        with self._lock:
            if self._reads:
                if len(self._arrived) >= MAX_ARRIVED:
                    self._arrived = []
                self._arrived.append(entry)
            trail = self._trail
            if self._gap or (self._joins and not trail):
                return  # a read brings it
            if not trail or entry.previous == trail[-1]:
                trail.append(entry.position)
                self._deliver((entry,))
            elif entry.position not in trail:
                self.fall_behind()

    def fall_behind(self, then: Callable[[], object] = lambda: None) -> None:
        """Deliver nothing until the history was read, and call a function then."""
        with self._lock:
            # The server may have executed a read under way before it lost something.
            self._arrived = []
            if not self._trail:
                then()
                return
            self._gap = self._gap or next(_numbers)
            self._repair = repair = object()
            self._all.backlog.groups.add(self)
            if not self._all.start(self._close_gap(repair, then)):
                self._gap = 0  # the next message shows it again

    def begin_join(self, channel: str, at: str | None = None) -> Join:
        """Deliver nothing to a channel until `join` or `cancel_join`.

        Args:
            channel: The channel.
            at: The position that an earlier membership is at. Default: it is a member here, and has
                got all that the others have; empty if it is no member.
        """
        with self._lock:
            earlier = self.position if at is None else at
            joins = self._joins.setdefault(channel, [])
            joins.append(Join(self, channel, joins[0].at if joins else earlier))
            self._all.backlog.groups.add(self)
            return joins[-1]

    async def join(self, join: Join, since: str | None, rewind: int) -> Joined:
        """Deliver to a channel what it has missed, and from now on all that comes.

        Args:
            join: What `begin_join` has returned.
            since: The position from which on the channel wants messages.
            rewind: The number of latest messages that it wants otherwise.

        Raises:
            redis.exceptions.RedisError: As `CommandClient.execute`. Call `cancel_join` then.
        """
        with self._lock:
            head = self.position
            wants_nothing = since == head or (since is None and not rewind)
            if wants_nothing and head and not self._gap and join.at in {"", head}:
                self._end_join(join)
                return Joined(head, recovered=True)

        def admit(start: str, replay: Replay) -> Joined:
            return self._admit(join, since, rewind, start, replay)

        return await self._read(admit, since or join.at, rewind)

    def cancel_join(self, join: Join) -> None:
        """End a join that has failed. An earlier membership goes on where it was."""
        with self._lock:
            is_member = bool(join.at) and self._joins.get(join.channel) == [join]
            if not is_member or not self._all.start(self.resume(join)):
                self._end_join(join)

    def drop_join(self, join: Join) -> None:
        """End a join that the garbage collector has ended, perhaps amid another call: no lock."""
        joins = self._joins.get(join.channel, [])
        if join in joins:
            joins.remove(join)
            if not joins:
                self._joins.pop(join.channel, None)

    async def resume(self, join: Join) -> None:
        """Deliver to a member what it has missed; tell it if that can't be read."""
        try:
            joined = await self._try(lambda: self.join(join, join.at or None, 0))
        except BaseException:
            self.drop_join(join)
            raise
        with self._lock:
            if joined is None or not joined.recovered:
                self._outlet.notify_gap(self.position, (join.channel,), join.number)
            if joined is None:
                self._counters.unrecovered += 1
                self._end_join(join)

    async def _close_gap(self, repair: object, then: Callable[[], object]) -> None:
        """Read what the members have missed; tell them if that can't be read."""

        def is_open() -> bool:
            return bool(self._gap) and self._repair is repair

        try:
            async with self._all.slot():
                await self._try(lambda: self._read(lambda *_: True), is_open)
        except BaseException:
            if self._repair is repair:
                self._gap = 0  # the next message shows it again
            raise
        with self._lock:
            if is_open():
                # They stay where they are.
                self._deliver((), "its history can't be read")
                self._end_gap()
            if self._repair is repair:
                then()

    async def _try(
        self, call: Callable[[], Awaitable[Result]], is_needed: Callable[[], bool] = lambda: True
    ) -> Result | None:
        """Make a call up to three times while it fails and is needed; return None then."""
        for _ in range(READ_ATTEMPTS):
            if is_needed():
                try:
                    return await call()
                except RedisError as error:
                    self._outlet.report_failure(error)
                    if not is_transient(error):
                        break
        return None

    async def _read(
        self, settle: Callable[[str, Replay], Result], since: str = "", rewind: int = 0
    ) -> Result:
        """Read the history until nothing is missing, and bring the current members to its end.

        Args:
            settle: Called then with the position that was read and all that follows `since`.
            since: A position to read from, if that is older than the members'.
            rewind: The number of latest messages to read.
        """
        is_repeated = False
        while True:
            read = object()
            with self._lock:
                if not self._reads:
                    self._arrived = []
                self._reads.add(read)
                arrived, before = self._arrived, len(self._arrived)
                head = self.position
                # A server that has lost its latest messages goes on from an earlier one.
                oldest = self._trail[0] if is_repeated and head else head
            try:
                question = Question.after(oldest, since, latest=rewind)
                replay = await self._all.read(self._key, question)
                with self._lock:
                    later = arrived[before:]
                    extended = replay.extended(later)
                    if (
                        arrived is self._arrived
                        and all(self._is_read(entry, extended) for entry in later)
                        and not self._may_be_old(extended, head, oldest, since)
                    ):
                        self._advance(extended)
                        return settle(replay.position, extended)
            finally:
                self._reads.discard(read)
            is_repeated = True

    def _is_read(self, entry: HistoryEntry, replay: Replay) -> bool:
        """Return whether nothing is missing before a message that has arrived during a read."""
        trail, position = self._trail, entry.position
        if position in replay or position in trail:
            return True
        # Sent before the first member joined.
        return not trail and not is_after(position, replay.position)

    def _may_be_old(self, replay: Replay, head: str, oldest: str, since: str) -> bool:
        """Return whether another read may have positions of members that this one has not.

        Args:
            replay: What was read.
            head: The position of the members when the read began. Another one that has ended
                meanwhile may be newer.
            oldest: The position from which it was read.
            since: That of a channel that joins.
        """
        trail = self._trail
        is_last_word = self.position == head and bool(head) and not is_after(oldest, trail[0])
        return not is_last_word and any(
            one in trail and one not in replay for one in (self.position, since)
        )

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
        """Deliver to the current members what a read has brought."""
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
        """Deliver messages to the current members; tell them first if others are missing.

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

    def _admit(
        self, join: Join, since: str | None, rewind: int, start: str, replay: Replay
    ) -> Joined:
        """Deliver to a channel what it has missed: it is current then."""
        missed = self._after(replay, join.at or start if since is None else since)
        readable = self._outlet.readable(missed or ())
        recovered = missed is not None and len(readable) == len(missed)
        if rewind and (since is None or not recovered):
            readable = max(readable, self._outlet.readable(replay.latest[-rewind:]), key=len)
        self._counters.replayed += len(readable)
        self._counters.unrecovered += not recovered
        if join.channel in self._outlet.members():
            self._outlet.put(readable, (join.channel,), join.number)
        for other in self._joins.get(join.channel, ()):
            other.at = self.position
        self._end_join(join)
        return Joined(readable[0].previous if readable else self.position, recovered)

    def _end_gap(self) -> None:
        gap, self._gap = self._gap, 0
        self._release(gap)

    def _end_join(self, join: Join) -> None:
        joins = self._joins.get(join.channel, [])
        if join in joins:
            joins.remove(join)
        if not joins:
            self._joins.pop(join.channel, None)
        self._release(join.number, (join.channel,))

    def _release(self, number: int, channels: Iterable[str] | None = None) -> None:
        """Let go what channels were to get after what they waited for."""
        backlog = self._all.backlog
        if not self._gap and not self._joins:
            backlog.groups.discard(self)
        backlog.release(number, channels)


class Followers(Generic[Key]):
    """The followers of the groups that have members in one process, or in one event loop.

    Args:
        read: Reads the history of a group.
        outlet: Returns the outlet to a group's members.
        spawn: Runs a coroutine in the background, whichever thread calls it; returns None if there
            is no event loop that goes on.
        backlog: Holds back what channels get later.
        settings: The layer's options.
    """

    def __init__(
        self,
        read: Callable[[Key, Question], Awaitable[Replay]],
        outlet: Callable[[Key], GroupOutlet],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        backlog: Backlog,
        settings: HistorySettings,
    ) -> None:
        self.read = read
        self.backlog = backlog
        self.lock = backlog.lock
        self.settings = settings
        self._outlet = outlet
        self._spawn = spawn
        self._followers: dict[Key, Follower[Key]] = {}
        # Each belongs to an event loop.
        self._slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            weakref.WeakKeyDictionary()
        )
        # Returns the follower of a group, or None.
        self.find = self._followers.get

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self._followers)

    def begin_join(self, key: Key, channel: str, at: str | None = None) -> Join:
        """Deliver nothing of a group to a channel until its follower ends the join."""
        with self.lock:
            follower = self._followers.get(key)
            if follower is None:
                follower = self._followers[key] = Follower(key, self._outlet(key), self)
            return follower.begin_join(channel, at)

    def stop(self) -> list[tuple[Key, str, str]]:
        """Forget what was under way in an event loop that has ended.

        Returns:
            The channels that were behind alone, each with its group and its position.
        """
        return [
            (key, channel, at)
            for key, follower in self._followers.items()
            for channel, at in follower.stop()
        ]

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
        with self.lock:
            outlet.put(outlet.readable((entry,)), outlet.members())

    def after(self, key: Key, channel: str, action: Callable[[], object]) -> None:
        """Do something once a channel has what it waits for in a group."""
        follower = self._followers.get(key)
        with self.lock:
            is_behind = follower is not None and follower.waits_of(channel)
            if not is_behind or not self.backlog.hold(channel, action):
                action()

    def forget(self, key: Key) -> None:
        """Forget a group that has no members here, unless a channel joins it just now."""
        with self.lock:
            follower = self._followers.get(key)
            if follower is not None and not follower.has_joins:
                follower.close()
                del self._followers[key]

    def clear(self) -> None:
        """Forget all groups."""
        with self.lock:
            for follower in self._followers.values():
                follower.close()
            self._followers.clear()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> bool:
        """Run a coroutine in the background; return whether an event loop does."""
        started = self._spawn(coroutine) is not None
        if not started:
            coroutine.close()
        return started

    def slot(self) -> asyncio.Semaphore:
        """Return the running loop's bound of reads under way."""
        return self._slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(MAX_READS))
