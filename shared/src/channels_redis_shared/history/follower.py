"""Follow the histories of groups for their members in one event loop.

A member is current, or it is behind and gets nothing until the history was read: after a gap or a
lost connection all members are, and a channel that joins.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from redis.exceptions import RedisError

from ..transport.errors import is_transient
from .backlog import Wait
from .outlet import GroupOutlet
from .positions import id_of, is_after
from .results import Joined
from .store import Question

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence

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
UNREADABLE = "some can't be read"

Key = TypeVar("Key")


@dataclass(eq=False)
class Join:
    """A call that waits until a channel has what it has missed.

    Attributes:
        follower: That of the group.
        channel: The channel.
        at: The position up to which an earlier membership has got all messages; empty without one.
        since: The position from which on the call wants messages.
        rewind: The number of latest messages that it wants otherwise.
        result: What it returns or raises; None before.
    """

    follower: Follower[Any]
    channel: str
    at: str
    since: str | None
    rewind: int
    result: Joined | RedisError | None = None


class Place(Wait):
    """The place of a channel that is behind in a group.

    Attributes:
        at: The position up to which it has got all messages; empty for a new member.
        joins: The calls that wait for it. Without any, it is told of a gap by a notice.
    """

    def __init__(self, channel: str, at: str) -> None:
        super().__init__(channel)
        self.at = at
        self.joins: list[Join] = []

    @property
    def since(self) -> str | None:
        """The earliest position from which on calls want messages, if one does."""
        wanted = [join.since for join in self.joins if join.since is not None]
        return min(wanted, key=lambda one: id_of(one) or (0, 0), default=None)

    @property
    def rewind(self) -> int:
        """The number of latest messages that calls want otherwise."""
        return max((join.rewind for join in self.joins), default=0)

    def answer(self, result: Joined | RedisError) -> None:
        """Let the calls return or raise."""
        for join in self.joins:
            join.result = result


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
        # The positions of the latest messages that the current members have got, and whether there
        # may be such members: not before the first read, nor after a gap.
        self._trail: deque[str] = deque(maxlen=MAX_TRAIL)
        self._is_current = False
        # The members that are behind, and those of them that a read may bring back.
        self._behind: dict[str, Place] = {}
        self._ready: dict[Place, None] = {}
        # Identifies what reads for those without calls; and what is called then.
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

    @property
    def has_joins(self) -> bool:
        """True while a channel joins."""
        return any(place.joins for place in self._behind.values())

    def is_behind(self, channel: str) -> bool:
        """Return whether a member waits for what it has missed."""
        return channel in self._behind

    def close(self) -> None:
        """Deliver nothing any more: the group is forgotten, and may get another follower."""
        self._is_current = False
        self._trail.clear()
        self._end(list(self._behind.values()))

    def stop(self) -> None:
        """Stop what was under way in an event loop that has ended, until `fall_behind`."""
        # Calls that end late change nothing here.
        self._repair = self._reading = None
        self._arrived = []
        for place in list(self._behind.values()):
            place.joins = []
            self._resume(place)

    def on_message(self, entry: HistoryEntry) -> None:
        """Deliver a message, or read the history if others may be missing before it."""
        if self._reading is not None:
            if len(self._arrived) >= MAX_ARRIVED:
                self._arrived = []
            self._arrived.append(entry)
        if self._ready:
            self._start_repair()
        trail = self._trail
        if not self._is_current:
            if self._behind:
                return
            trail.clear()
            self._is_current = True
        if not trail or entry.previous == trail[-1]:
            trail.append(entry.position)
            members = self._outlet.members(self._behind)
            readable = self._outlet.readable((entry,)) if members else ()
            if members and not readable:
                self._outlet.tell_gap(self.position, members, UNREADABLE)
            self._outlet.put(readable, members)
        elif entry.position not in trail:
            self.fall_behind()

    def fall_behind(self, then: Callable[[], object] | None = None) -> None:
        """Deliver nothing until the history was read, and call a function then."""
        # The server may have executed a read under way before it lost something.
        self._arrived = []
        self._then = then or self._then
        if self._is_current:
            self._leave_behind()
        self._repair = None
        if self._needs_repair:
            self._start_repair()
        else:
            self._call_then()

    def begin_join(self, channel: str, since: str | None, rewind: int, *, is_member: bool) -> Join:
        """Deliver nothing to a channel until `join` or `cancel_join`, unless it lacks nothing.

        Args:
            channel: The channel.
            since: The position from which on it wants messages.
            rewind: The number of latest messages that it wants otherwise.
            is_member: True if it is a member already.
        """
        join = Join(self, channel, self.position if is_member else "", since, rewind)
        is_current = is_member and self._is_current and channel not in self._behind
        if is_current and since is None and not rewind:
            join.result = Joined(join.at, recovered=True)
            return join
        place = self._place_of(join)
        if not is_member:
            place.at = ""  # it may have left while it was behind
        # No read brings it back before the server has confirmed the membership.
        self._ready.pop(place, None)
        return join

    async def join(self, join: Join) -> Joined:
        """Deliver to a channel what it has missed, and from now on all that comes.

        Args:
            join: What `begin_join` has returned.

        Raises:
            redis.exceptions.RedisError: As `CommandClient.execute`. Call `cancel_join` then.
        """
        while join.result is None:
            place, head = self._place_of(join), self.position
            self._ready[place] = None
            lacks_nothing = place.at in {"", head} and place.since in {None, head}
            if self._is_current and lacks_nothing and not place.rewind:
                place.answer(Joined(head, recovered=True))
                self._end((place,))
            else:
                await self._read()
        if isinstance(join.result, RedisError):
            raise join.result
        return join.result

    def cancel_join(self, join: Join) -> None:
        """End a join that has failed. An earlier membership goes on where it was."""
        place = self._behind.get(join.channel)
        if place is not None and join in place.joins:
            place.joins.remove(join)
            if not place.joins:
                self._resume(place)
                self._start_repair()

    def _place_of(self, join: Join) -> Place:
        place = self._behind.get(join.channel) or self._begin(join.channel, join.at)
        if join not in place.joins:
            place.joins.append(join)
        return place

    def _resume(self, place: Place) -> None:
        """Let the next read deliver to a member what it has missed; end what is no member yet."""
        if place.at:
            self._ready[place] = None
        else:
            self._end((place,))

    def _begin(self, channel: str, at: str) -> Place:
        place = self._behind[channel] = Place(channel, at)
        self._all.backlog.begin(place)
        return place

    def _end(self, places: Collection[Place]) -> None:
        for place in places:
            self._behind.pop(place.channel, None)
            self._ready.pop(place, None)
        self._all.backlog.end(places)

    def _leave_behind(self) -> list[Place]:
        """Let the current members wait, and return their places."""
        self._is_current = False
        members = self._outlet.members(self._behind)
        places = [self._begin(channel, self.position) for channel in members]
        self._ready.update(dict.fromkeys(places))
        return places

    @property
    def _needs_repair(self) -> bool:
        """True if members wait for a read and no call makes one."""
        return any(not place.joins for place in self._ready)

    def _start_repair(self) -> None:
        if self._repair is None and self._needs_repair:
            self._repair = repair = object()
            if not self._all.start(self._catch_up(repair)):
                self._repair = None  # the next message, or the next event loop, tries again

    async def _catch_up(self, repair: object) -> None:
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
                self._give_up([place for place in self._ready if not place.joins])
                self._call_then()
        finally:
            if self._repair is repair:
                self._repair = None

    def _give_up(self, places: Collection[Place]) -> None:
        """Tell those that still miss something; they stay where they are."""
        if places:
            members = self._members_at(places)
            self._outlet.tell_gap(self.position, members, "its history can't be read", members)
            self._is_current = True
            self._end(places)

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
        is_repeated = False
        places: list[Place] = []
        try:
            while self._ready:
                arrived = self._arrived = []
                places, head = list(self._ready), self.position
                # A server that has lost its latest messages goes on from an earlier one.
                oldest = self._trail[0] if is_repeated and head else head
                starts = {place.since or place.at for place in places}
                rewind = max(place.rewind for place in places)
                question = Question.after(oldest, *starts, latest=rewind)
                replay = await self._all.read(self._key, question)
                extended = replay.extended(arrived)
                if (
                    arrived is self._arrived
                    and all(self._is_read(entry, extended) for entry in arrived)
                    and not self._is_on_trail(starts, extended, head, oldest)
                ):
                    self._advance(replay.position, extended, places)
                    break
                is_repeated = True
        except RedisError as error:
            for place in places:
                place.answer(error)
            return error
        finally:
            if self._reading is mine:
                self._reading = None
            mine.set_result(None)
        return None

    def _is_read(self, entry: HistoryEntry, replay: Replay) -> bool:
        """Return whether nothing is missing before a message that has arrived during a read."""
        trail, position = self._trail, entry.position
        if position in replay or position in trail:
            return True
        # Sent before the first member joined.
        return not trail and not is_after(position, replay.position)

    def _is_on_trail(self, starts: set[str], replay: Replay, head: str, oldest: str) -> bool:
        """Return whether a read of the whole trail may find what this one has not.

        Args:
            starts: The positions of channels that are behind.
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

    def _advance(self, end: str, replay: Replay, places: list[Place]) -> None:
        """Bring the members to the end of what was read.

        Args:
            end: The position of a new member: it gets what arrived during the read.
            replay: What was read, and what arrived meanwhile.
            places: Those for which it was read.
        """
        trail, head = self._trail, self.position
        if self._is_current and head != replay.position:
            places += self._leave_behind()
        alike: dict[tuple[str, bool, int, bool], list[Place]] = {}
        for place in places:
            if place in self._ready:
                since = place.since
                start = place.at or end if since is None else since
                kind = (start, since is None, place.rewind, bool(place.joins))
                alike.setdefault(kind, []).append(place)
        passed = self._after(replay, head) if head else ()
        for (start, *_), group in alike.items():
            self._admit(group, start, replay)
        if passed is None:
            trail.clear()
        trail.extend(entry.position for entry in passed or ())
        if self.position != replay.position:
            trail.append(replay.position)
        self._is_current = True

    def _admit(self, places: list[Place], start: str, replay: Replay) -> None:
        """Deliver to channels that want the same what they have missed: they are current then.

        Args:
            places: Their places.
            start: The position from which on they want messages.
            replay: What was read.
        """
        first, members = places[0], self._members_at(places)
        missed = self._after(replay, start)
        fault = ""
        if missed is None:
            fault = "its history no longer has them all"
            # Only newer ones have certainly not been delivered before.
            newer = (entry for entry in replay.entries if is_after(entry.position, start))
            missed = () if first.joins else tuple(newer)
        readable = self._outlet.readable(missed)
        if len(readable) < len(missed):
            fault = fault or UNREADABLE
        if first.rewind and (first.since is None or fault):
            latest = self._outlet.readable(replay.latest[-first.rewind :])
            readable = max(readable, latest, key=len)
        if fault and first.joins:
            self._counters.unrecovered += 1
        elif fault and members:
            self._outlet.tell_gap(replay.position, members, fault, members)
        self._counters.replayed += len(readable)
        self._outlet.put(readable, members, members)
        position = readable[0].previous if readable else replay.position
        for place in places:
            place.answer(Joined(position, recovered=not fault))
        self._end(places)

    def _members_at(self, places: Iterable[Place]) -> dict[str, Place]:
        """Return the places of channels that are still members, by channel."""
        members = self._outlet.members()
        return {place.channel: place for place in places if place.channel in members}

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

    def begin_join(
        self, key: Key, channel: str, since: str | None, rewind: int, *, is_member: bool
    ) -> Join:
        """As `Follower.begin_join`, also for a group that has no follower yet."""
        follower = self._followers.get(key)
        if follower is None:
            follower = self._followers[key] = Follower(key, self._outlet(key), self)
        return follower.begin_join(channel, since, rewind, is_member=is_member)

    def stop(self) -> None:
        """Stop what was under way in an event loop that has ended."""
        self.slots = asyncio.Semaphore(MAX_READS)
        for follower in self._followers.values():
            follower.stop()

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
