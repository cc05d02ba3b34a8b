"""Read the histories of groups for their followers: to close gaps, and for channels that join."""

from __future__ import annotations

import asyncio
import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from redis.exceptions import RedisError

from ..transport.errors import is_transient
from .follower import Follower
from .results import Joined
from .store import Question

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractContextManager

    from .follower import Join, Outlet, Read
    from .positions import HistoryEntry, Replay
    from .settings import HistorySettings

# Reads to close gaps that are under way at once: as many go out in one write.
MAX_READS = 100
# Each lasts as long as the host's timeout while the server is away.
READ_ATTEMPTS = 3

Key = TypeVar("Key")


class Followers(Generic[Key]):
    """The followers of the groups that have members in one process, or in one event loop.

    Args:
        read: Reads the history of a group.
        outlet: Returns the outlet to a group's members.
        spawn: Runs a coroutine in the background, whichever thread calls it; returns None if there
            is no event loop that goes on.
        settings: The layer's options.
        lock: Held in each call of a follower, and while a group is forgotten, so that no channel
            joins it then; by default one of its own. A thread may take it again. What the outlets
            take has to be this lock, or one that is never held when a follower is called.
    """

    def __init__(
        self,
        read: Callable[[Key, Question], Awaitable[Replay]],
        outlet: Callable[[Key], Outlet],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        settings: HistorySettings,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._read = read
        self.outlet = outlet
        self._spawn = spawn
        self._counters = settings.counters
        self._faults = settings.faults
        self._followers: dict[Key, Follower] = {}
        self._lock = threading.RLock() if lock is None else lock
        # Each belongs to an event loop.
        self._slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            weakref.WeakKeyDictionary()
        )
        # Returns the follower of a group, or None.
        self.find = self._followers.get

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self._followers)

    def follow(self, key: Key) -> Follower:
        """Return the follower of a group; create it if there is none."""
        follower = self._followers.get(key)
        if follower is None:
            follower = Follower(self.outlet(key), self._counters, self._lock)
            follower = self._followers.setdefault(key, follower)
        return follower

    def begin_join(self, key: Key, channel: str) -> tuple[Follower, Join]:
        """Deliver nothing of a group to a channel until `confirm_join` or `cancel_join`."""
        with self._lock:
            follower = self.follow(key)
            return follower, follower.begin_join(channel)

    def forget(self, key: Key) -> None:
        """Forget a group that has no members here, unless a channel joins it just now."""
        with self._lock:
            follower = self._followers.get(key)
            if follower is not None and not follower.has_joins:
                follower.close()
                del self._followers[key]

    def clear(self) -> None:
        """Forget all groups."""
        with self._lock:
            for follower in self._followers.values():
                follower.close()
            self._followers.clear()

    def on_message(self, key: Key, follower: Follower, entry: HistoryEntry) -> None:
        """Deliver a message, or read the history first."""
        self._start(key, follower, follower.on_message(entry))

    def repair(self, key: Key, then: Callable[[], object] | None = None) -> None:
        """Read what a group's members have missed, and then call a function."""
        follower = self._followers.get(key)
        read = None if follower is None else follower.begin_repair()
        if follower is None or read is None:
            if then is not None:
                then()
        else:
            self._start(key, follower, read, then)

    async def confirm_join(
        self, key: Key, follower: Follower, join: Join, since: str | None, rewind: int
    ) -> Joined:
        """Deliver to a channel what it has missed, and from now on all that comes.

        Raises:
            redis.exceptions.RedisError: As `CommandClient.execute`. Call `cancel_join` then.
        """
        if since is not None or not rewind:
            position = follower.confirm_join_at_cursor(join, since)
            if position:
                return Joined(position, recovered=True)
        joined = None
        while joined is None:
            question = Question.after(join.position, since, latest=rewind)
            joined = follower.confirm_join(join, await self._read(key, question), since, rewind)
        self._start(key, follower, follower.release())
        return Joined(*joined)

    async def position(self, key: Key) -> Joined:
        """Return the place of a channel that wants nothing from the history."""
        follower = self.find(key)
        position = "" if follower is None else follower.position
        if not position:
            position = (await self._read(key, Question(None))).position
        return Joined(position, recovered=True)

    def cancel_join(self, key: Key, follower: Follower, join: Join) -> None:
        """End a join that has failed."""
        self._start(key, follower, follower.cancel_join(join))

    def _start(
        self,
        key: Key,
        follower: Follower,
        read: Read | None,
        then: Callable[[], object] | None = None,
    ) -> None:
        if read is not None:
            repair = self._repair(key, follower, read, then)
            if self._spawn(repair) is None:
                repair.close()
                follower.abort(read)

    async def _repair(
        self,
        key: Key,
        follower: Follower,
        read: Read | None,
        then: Callable[[], object] | None,
    ) -> None:
        """Read until nothing is missing before any message that is held."""
        while read is not None:
            try:
                replay = await self._read_again(key, read)
            except BaseException:
                follower.abort(read)
                raise
            if not follower.is_waiting_for(read):
                return  # the connection was lost once more: the next repair goes on from here
            read = follower.repair(read, replay)
        if then is not None:
            then()

    async def _read_again(self, key: Key, read: Read) -> Replay | None:
        """Return the history from a position on; None if it can't be read."""
        async with self._slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(MAX_READS)):
            for _ in range(READ_ATTEMPTS):
                try:
                    return await self._read(key, Question.after(read.position))
                except RedisError as error:
                    group = key.decode() if isinstance(key, bytes) else str(key)
                    self._faults.warning("The history of %s can't be read: %s", group, error)
                    if not is_transient(error):
                        break
        return None
