"""Follow the history of a group for the members that it has in one process. Does no I/O."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from .cursor import Cursor, Verdict
from .positions import is_after

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from contextlib import AbstractContextManager

    from ..ops.statistics import Counters
    from .positions import HistoryEntry, Replay

# Messages that wait for a read of the history. If there are more, the oldest are read as well.
MAX_HELD = 1000


class Outlet(Protocol):
    """Put messages into the mailboxes of a group's members in this process."""

    def deliver(self, entry: HistoryEntry, without: Collection[str]) -> None:
        """Put a message into the mailbox of each member, `without` some."""

    def replay(self, entries: Sequence[HistoryEntry], channel: str) -> None:
        """Put messages into the mailbox of one member."""

    def notify_gap(self, position: str) -> None:
        """Tell all members that messages before a position may be missing."""


class Read:
    """A read of the history that is under way.

    Attributes:
        position: The position of the cursor when it began.
        held: The message that has shown the gap, if one has.
    """

    def __init__(self, position: str, held: HistoryEntry | None = None) -> None:
        self.position = position
        self.held = held


class Join(Read):
    """A channel that joins the group, and reads what it has missed.

    Attributes:
        begun: The number of messages in the follower's log when the join began.
        delivered: Their number when the read began.
        since: The channel's position in another event loop, if it comes from there.
    """

    def __init__(self, channel: str, position: str, delivered: int) -> None:
        super().__init__(position)
        self.channel = channel
        self.begun = self.delivered = delivered
        self.since: str | None = None


class Follower:
    """Deliver the messages of a group, each once and in order, to its members in one process.

    After a gap, messages are held until the history was read. A channel that joins is delivered to
    only once it has what it had missed. Threads may share a follower.

    Args:
        outlet: Delivers to the members.
        counters: Count what is replayed, and what can't be recovered.
        lock: Held in each call; by default one of its own. A thread may take it again.
    """

    def __init__(
        self,
        outlet: Outlet,
        counters: Counters,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._lock = threading.RLock() if lock is None else lock
        self._outlet = outlet
        self._counters = counters
        self._cursor = Cursor()
        self._held: deque[HistoryEntry] = deque(maxlen=MAX_HELD)
        # The read that the held messages wait for.
        self._repair: Read | None = None
        self._joins: list[Join] = []
        # What was delivered since the first of these joins began.
        self._log: list[HistoryEntry] = []
        self._closed = False

    def close(self) -> None:
        """Deliver nothing any more: the group is forgotten, and may have another follower.

        A read that is under way would bring its members again what they have.
        """
        with self._lock:
            self._closed = True
            self._held.clear()

    @property
    def position(self) -> str:
        """The position of the latest message; empty if it is not known."""
        return self._cursor.position

    def position_of(self, channel: str) -> str:
        """Return the position after which a channel has got nothing yet; empty if not known."""
        with self._lock:
            joins = [join for join in self._joins if join.channel == channel]
            # An earlier membership has not got what waits for a join.
            waiting = self._log[joins[0].begun :] if joins else ()
            position = waiting[0].previous if waiting else self._cursor.position
            return next((join.since for join in joins if join.since), position)

    def on_message(self, entry: HistoryEntry) -> Read | None:
        """Deliver or hold a message; return the read that has to be made, if there is a gap."""
        with self._lock:
            # The first join tells where the group is. What arrives before may be older.
            if self._repair is not None or (self._joins and not self._cursor.position):
                self._held.append(entry)
                return None
            verdict = self._cursor.judge(entry)
            if verdict is Verdict.NEXT:
                self._deliver(entry)
            elif verdict is Verdict.GAP:
                self._held.append(entry)
                self._repair = Read(self._cursor.position, entry)
                return self._repair
            return None

    def begin_repair(self) -> Read | None:
        """Hold all messages until the history was read: some may be missing.

        Returns:
            The read; None if any message may come next.
        """
        with self._lock:
            # What is held came before the loss. Either this read brings it, too, or it is lost.
            self._held.clear()
            # In place of one that is under way: the server may have executed it before the loss.
            # Likewise, the read of the first join may end before what is lost was sent.
            may_miss = self._cursor.position or self._joins
            self._repair = Read(self._cursor.position) if may_miss else None
            return self._repair

    def repair(self, read: Read, replay: Replay | None) -> Read | None:
        """Deliver what was missing, then what was held.

        Args:
            read: What `on_message` or `begin_repair` has returned.
            replay: The history from the read's position on; None if it can't be read.

        Returns:
            The read that has to be made next, if there is another gap.
        """
        with self._lock:
            if self._repair is not read:
                return None
            self._repair = None
            if self._closed:
                return None
            if replay is None:
                self._cursor.position = ""
                self._notify_gap("")
            else:
                self._advance(read, replay)
            return self.release()

    @property
    def is_repairing(self) -> bool:
        """True while messages are held until the history was read."""
        return self._repair is not None

    def is_waiting_for(self, read: Read) -> bool:
        """Return whether the held messages wait for this read, and not for a later one."""
        return self._repair is read

    def abort(self, read: Read) -> None:
        """Abandon a read that was cancelled. The next message shows the gap again.

        Takes no lock, as `drop`.
        """
        if self._repair is read:
            self._repair = None

    @property
    def has_joins(self) -> bool:
        """True while a channel joins."""
        return bool(self._joins)

    def drop(self, join: Join) -> None:
        """End a join that the garbage collector has ended, perhaps amid another call here.

        So this takes no lock, and delivers nothing that was held: the next message shows the gap.
        """
        self._held.clear()
        if join in self._joins:
            self._joins.remove(join)

    def begin_join(self, channel: str) -> Join:
        """Deliver nothing to a channel until `confirm_join` or `cancel_join`."""
        with self._lock:
            join = Join(channel, self._cursor.position, len(self._log))
            self._joins.append(join)
            return join

    def confirm_join_at_cursor(self, join: Join, since: str | None) -> str:
        """Let a channel join without a read, if it has missed nothing.

        Args:
            join: What `begin_join` has returned.
            since: The position from which on the channel wants messages; None: the present one.

        Returns:
            The position from which on the channel gets messages; empty if it has to read first.
        """
        with self._lock:
            position = self._cursor.position
            if self._repair is not None or since not in {None, position}:
                return ""
            if position:
                self._end_join(join)
            return position

    def confirm_join(
        self, join: Join, replay: Replay, since: str | None, rewind: int
    ) -> tuple[str, bool] | None:
        """Deliver to a channel what it has missed, and from now on all that comes.

        Call `release` afterwards.

        Args:
            join: What `begin_join` has returned.
            replay: The history from the join's position and from `since` on, and latest entries.
            since: The position from which on the channel wants messages, if it has one.
            rewind: The number of latest messages that it wants otherwise.

        Returns:
            The position after which the channel gets all messages, and whether nothing after
            `since` is missing; None if this read was overtaken, so that another has to be made.
        """
        with self._lock:
            self._advance(join, replay)
            later = self._delivered_after(join, replay.position)
            if later is None:
                join.position, join.delivered = self._cursor.position, len(self._log)
                return None
            missed = None if since is None else replay.after(since)
            recovered = since is None or missed is not None
            if missed is None:
                missed = replay.latest[-rewind:] if rewind else ()
            self._counters.replayed += len(missed)
            self._counters.unrecovered += not recovered
            replayed = [*missed, *later]
            if rewind and since is None:
                # More may have waited for the join, and an earlier membership goes on.
                replayed = max(replayed, self._log[join.begun :], key=len)
            self._outlet.replay(replayed, join.channel)
            self._end_join(join)
            return replayed[0].previous if replayed else self._cursor.position, recovered

    def cancel_join(self, join: Join) -> Read | None:
        """End a join that has failed; return the read that has to be made, if there is a gap."""
        with self._lock:
            if join in self._joins:
                # An earlier membership stays, and these have waited for the join.
                self._outlet.replay(self._log[join.begun :], join.channel)
                self._end_join(join)
            return self.release()

    def release(self) -> Read | None:
        """Deliver what was held; return the read that has to be made, if there is a gap."""
        with self._lock:
            if self._repair is not None or (self._joins and not self._cursor.position):
                return None
            held, position = list(self._held), self._cursor.position
            self._held.clear()
            read = None
            is_known = any(entry.position == position for entry in held)
            for entry in held:
                if is_known and not is_after(entry.position, position):
                    continue  # the read has brought it, or it was sent before the first join
                read = self.on_message(entry) or read
            return read

    def _advance(self, read: Read, replay: Replay) -> None:
        """Deliver to all members what a read has brought, unless it was overtaken."""
        cursor = self._cursor
        if not cursor.position:
            cursor.position = replay.position
            return
        if cursor.position != read.position and replay.after(cursor.position) is None:
            return
        missed, recovered = cursor.catch_up(replay, read.held)
        if self._held and self._held[0] is read.held:
            self._held.popleft()
        if not recovered:
            self._notify_gap(replay.position)
        self._counters.replayed += len(missed)
        for entry in missed:
            self._deliver(entry)

    def _delivered_after(self, join: Join, position: str) -> Sequence[HistoryEntry] | None:
        """Return what was delivered after a position since a join began; None if unknown."""
        delivered = self._log[join.delivered :]
        if position == self._cursor.position:
            return ()
        if position == join.position:
            return delivered
        for number, entry in enumerate(delivered, 1):
            if entry.position == position:
                return delivered[number:]
        return None

    def _notify_gap(self, position: str) -> None:
        self._counters.unrecovered += 1
        self._outlet.notify_gap(position)

    def _deliver(self, entry: HistoryEntry) -> None:
        joining = [join.channel for join in self._joins]
        if joining:
            self._log.append(entry)
        self._outlet.deliver(entry, joining)

    def _end_join(self, join: Join) -> None:
        self._joins.remove(join)
        if not self._joins:
            self._log.clear()
        for other in self._joins:
            if other.channel == join.channel:
                # The channel has got what is in the log.
                other.begun = len(self._log)
