"""Send the commands of one event-loop turn in one write, and give each caller its reply.

An `AutoPipeline` belongs to one event loop and one server. All commands but a process's blocking
reads go through it, so most of the throughput comes from here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError

from ..clock import monotonic
from ..concurrency import begun, end_task, start_task
from ..ops.statistics import Counters
from .commands import CommandClient, PendingCommand, name_keys, pack
from .errors import is_from_replica, is_redirect, is_transient, was_not_executed
from .reconnecting import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .commands import Coalescer, Script
    from .connection import Connection
    from .connector import Connector

# The server serves no one else while it executes a write, so a write is bounded.
MAX_COMMANDS = 1000
MAX_BYTES = 1_000_000
# So is a script, in the number of its parts.
MAX_COALESCED = 100


@dataclass(eq=False, slots=True)
class CoalescedCommand:
    """One command for the server, and the calls that it combines."""

    calls: Sequence[PendingCommand]
    content: bytes
    coalescer: Coalescer

    def answer(self, reply: Any) -> None:
        """Answer each call with its own reply."""
        try:
            replies = self.coalescer.replies(reply, [call.content for call in self.calls])
            pairs = list(zip(self.calls, replies, strict=True))
        except Exception as error:  # noqa: BLE001 - whatever it is, other calls have no part in it
            pairs = [(call, error) for call in self.calls]
        for call, own in pairs:
            (call.fail if isinstance(own, Exception) else call.answer)(own)


def next_batch(calls: deque[PendingCommand]) -> list[PendingCommand]:
    """Remove the calls of the next write from `calls`, in order; leave out those given up.

    The server executes a whole write before the reader that the first message woke takes anything,
    so one write must not fill a message key to its capacity.
    """
    batch: list[PendingCommand] = []
    added = size = 0
    while calls and len(batch) < MAX_COMMANDS and size < MAX_BYTES:
        call = calls[0]
        if call.reply.done():  # cancelled, and not written yet
            calls.popleft()
            continue
        if call.quota:
            if added >= call.quota:
                break
            added += 1
        size += call.size
        batch.append(calls.popleft())
    return batch


def coalesce(batch: Sequence[PendingCommand]) -> list[PendingCommand | CoalescedCommand]:
    """Coalesce neighbouring calls that have an equal coalescer and slot."""
    commands: list[PendingCommand | CoalescedCommand] = []
    for (coalescer, _slot), neighbours in groupby(batch, attrgetter("coalescer", "slot")):
        if coalescer is None:
            commands += neighbours
            continue
        for calls in _bounded(neighbours):
            try:
                packed = pack(coalescer.command([call.content for call in calls]))
            except Exception as error:  # noqa: BLE001 - whatever it is, others have no part in it
                for call in calls:
                    call.fail(error)
            else:
                commands.append(CoalescedCommand(calls, packed, coalescer))
    return commands


def _bounded(calls: Iterable[PendingCommand]) -> Iterator[list[PendingCommand]]:
    """Return the calls in groups that one command may hold the parts of."""
    group: list[PendingCommand] = []
    length = 0
    for call in calls:
        length += len(call.content)
        if group and length > MAX_COALESCED:
            yield group
            group, length = [], len(call.content)
        group.append(call)
    yield group


class Lane:
    """The commands for one server, written to one connection, one write after the other.

    Args:
        connector: Opens the connection.
        scripts: Loaded whenever a connection opens.
        counters: Count commands and round trips.
        give_back: Called with the calls that this server can't execute now, in order, and the
            error: those that may be sent again, and all that wait behind them.
    """

    def __init__(
        self,
        connector: Connector,
        scripts: Sequence[Script],
        counters: Counters,
        give_back: Callable[[Iterable[PendingCommand], Exception], object],
    ) -> None:
        self._connector = connector
        self._load = [script.load for script in scripts]
        self._counters = counters
        self._give_back = give_back
        self._seconds = connector.host.timeout
        self._loop = asyncio.get_running_loop()
        self._calls: deque[PendingCommand] = deque()
        # Those written and not answered yet.
        self._written: list[PendingCommand | CoalescedCommand] = []
        self._connection: Connection | None = None
        self._was_connected = False
        self._opening: asyncio.Task[Connection] | None = None
        # True from the first call until none is left.
        self.is_busy = False
        # False if it keeps its connection only while calls are pending.
        self.keeps_connection = True
        # Seconds after which a connection is replaced before the next write.
        self.max_age: float | None = None
        self._opened_at = 0.0

    def put(self, call: PendingCommand) -> None:
        """Add a call to the next write."""
        self._calls.append(call)
        if not self.is_busy:
            self.is_busy = True
            self._loop.call_soon(self._flush)

    def slots(self) -> set[int | None]:
        """Return the slots of the calls that are pending."""
        return {call.slot for call in self._pending()}

    def release(self) -> None:
        """Close the connection as soon as no call is pending, from now on."""
        self.keeps_connection = False
        if not self.is_busy:
            self._close_connection()

    async def close(self, error: Exception) -> None:
        """Close the connection, and fail what is pending."""
        if self._written:
            self._close_connection()
            self._loop.call_soon(self._flush)
        self._fail_all(error)
        if self._opening is not None:
            await end_task(self._opening)
        self.release()

    def _pending(self) -> Iterator[PendingCommand]:
        for command in self._written:
            yield from command.calls
        yield from self._calls

    def _fail_all(self, error: BaseException) -> None:
        calls, self._written = list(self._pending()), []
        self._calls.clear()
        for call in calls:
            call.fail(error)

    def _flush(self) -> None:
        """Write the next calls, after opening the connection if need be."""
        if self.max_age and monotonic() - self._opened_at > self.max_age:
            self._close_connection()
            self._was_connected = False  # and not lost
        connection = self._connection
        if self._calls and (connection is None or connection.is_stale):
            self._close_connection()
            self._opening = start_task(begun(self._connector.open, self._load))
            self._opening.add_done_callback(self._opened)
            return
        batch: list[PendingCommand] = []
        while self._calls and not self._written:
            batch = next_batch(self._calls)
            self._written = coalesce(batch)
        if connection is None or not self._written:
            self.is_busy = False
            if not self.keeps_connection:
                self._close_connection()
            return
        self._counters.commands += len(batch)
        self._counters.round_trips += 1
        arrived = partial(self._arrived, connection)
        try:
            connection.write([command.content for command in self._written])
        except RedisConnectionError as error:
            arrived(error)
        else:
            connection.when_ready(len(self._written), self._seconds, arrived)

    def _opened(self, opening: asyncio.Task[Connection]) -> None:
        """Continue with a new connection, or handle the error."""
        self._opening = None
        # The end of an event loop cancels all tasks, and some of them still send.
        error: BaseException | None = RedisConnectionError("Connecting was cancelled")
        if not opening.cancelled():
            error = opening.exception()
        if error is None:
            self._connection, self._opened_at = opening.result(), monotonic()
            self._counters.reconnects += self._was_connected
            self._was_connected = True
        elif isinstance(error, Exception) and is_transient(error):
            self._hand_back((), error)
        else:
            self._fail_all(error)
        self._flush()

    def _arrived(self, connection: Connection, lost: Exception | None) -> None:
        """Answer the calls of a write; `lost` is the error if not all replies have come."""
        if connection is not self._connection:
            return
        commands, self._written = self._written, []
        replies = connection.pop(len(commands))
        replies += [lost] * (len(commands) - len(replies))
        again: list[PendingCommand] = []
        trouble = lost
        for command, reply in zip(commands, replies, strict=True):
            if not isinstance(reply, Exception):
                command.answer(reply)
                continue
            refused = was_not_executed(reply)
            error = name_keys(reply, command.content)
            for call in command.calls:
                if refused or (reply is lost and call.idempotent):
                    again.append(call)
                else:
                    call.fail(error)
            # redis-py, too, closes a connection on which such an error comes.
            if (refused or isinstance(reply, RedisConnectionError)) and (
                trouble is None or is_redirect(trouble)
            ):
                trouble = reply
        if trouble is not None:
            self._hand_back(again, trouble)
        # After the callers, who resume in the next turn, and whose next commands go along.
        self._loop.call_soon(self._flush)

    def _hand_back(self, calls: Sequence[PendingCommand], error: Exception) -> None:
        """Return calls to the pipeline, with those that wait behind them."""
        later, self._calls = self._calls, deque()
        if is_redirect(error):
            slots = {call.slot for call in calls}
            self._calls.extend(call for call in later if call.slot not in slots)
            later = deque(call for call in later if call.slot in slots)
        else:
            # A new connection loads the scripts, and finds the master again.
            self._close_connection()
            if is_from_replica(error):
                # A look would ask the new master, and leave the subscriber behind.
                self._connector.on_replica()
        self._give_back([*calls, *later], error)

    def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class AutoPipeline(CommandClient):
    """The command connection to one server.

    What can't be executed now is held, in order, until another try is due.

    Args:
        connector: Opens the connection.
        scripts: Loaded whenever a connection opens.
        counters: Count commands and round trips.
    """

    def __init__(
        self,
        connector: Connector,
        scripts: Sequence[Script] = (),
        counters: Counters | None = None,
    ) -> None:
        self._connector = connector
        self._scripts = scripts
        self._counters = counters or Counters()
        self._keeps_connection = True
        # Seconds after which a connection is replaced.
        self.max_age: float | None = None
        self._seconds = connector.host.timeout
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[Connector, Lane] = {}
        # The calls that no server can execute now, by slot.
        self._held: dict[int | None, deque[PendingCommand]] = {}
        # The reason for that. Kept for longer, it would keep a lost connection alive.
        self._error: Exception | None = None
        self._recovery: asyncio.Task[None] | None = None
        self._backoff = Backoff()
        self._failed_at = float("-inf")

    def call(self, command: PendingCommand) -> asyncio.Future[Any]:
        """Add a command to the next write."""
        command.reply = self._loop.create_future()
        command.deadline = monotonic() + self._seconds
        self._put(command)
        return command.reply

    def release(self) -> None:
        """Close the connections as soon as no call is pending, from now on."""
        self._keeps_connection = False
        for lane in self._lanes.values():
            lane.release()

    async def close(self) -> None:
        """Close the connections. Later commands open some, and close them again."""
        self._keeps_connection = False
        error = RedisConnectionError("The layer was closed")
        self._fail_held(error)
        await asyncio.gather(*[lane.close(error) for lane in self._lanes.values()])
        if self._recovery is not None:
            await end_task(self._recovery)

    def _put(self, call: PendingCommand) -> None:
        if self._held:
            self._hold([call], self._error)
        else:
            (self._lanes.get(self._connector) or self._lane_to(self._connector)).put(call)

    def _lane_to(self, connector: Connector) -> Lane:
        lane = self._lanes.get(connector)
        if lane is None:
            lane = Lane(connector, self._scripts, self._counters, self._hold)
            lane.keeps_connection, lane.max_age = self._keeps_connection, self.max_age
            self._lanes[connector] = lane
        return lane

    def _hold(self, calls: Iterable[PendingCommand], error: Exception | None) -> None:
        """Hold calls until the server of each is known and can be tried again."""
        self._error = error
        for call in calls:
            self._held.setdefault(call.slot, deque()).append(call)
        self._recover_soon()

    def _recover_soon(self, _ended: object = None) -> None:
        if self._held and (self._recovery is None or self._recovery.done()):
            self._recovery = start_task(begun(self._recover))
            # It may be cancelled, as its loop ends, while calls are still held.
            self._recovery.add_done_callback(self._recover_soon)

    async def _recover(self) -> None:
        """Wait a little, look for the servers, and send what is held, until nothing is."""
        while self._held:
            await asyncio.sleep(self._pause())
            self._fail_overdue()
            try:
                await self._connector.learn()
            except Exception as error:  # noqa: BLE001 - whatever it is, no caller may hang
                self._error = error
                if not is_transient(error):
                    self._fail_held(error)
            else:
                self._release()
        self._error = None

    def _pause(self) -> float:
        """Return the seconds to wait before the next try: none if the last failure is long ago."""
        before, self._failed_at = self._failed_at, monotonic()
        if self._failed_at - before > Backoff.QUIET:
            self._backoff.reset()
            return 0.0
        soonest = min(calls[0].deadline for calls in self._held.values())
        return max(0.0, min(self._backoff.next(), soonest - self._failed_at))

    def _release(self) -> None:
        held, self._held = self._held, {}
        for calls in held.values():
            for call in calls:
                self._put(call)

    def _fail_overdue(self) -> None:
        now = monotonic()
        error = self._error or RedisConnectionError(f"{self._connector.host} was not asked yet")
        for slot, calls in list(self._held.items()):
            while calls and calls[0].deadline <= now:
                calls.popleft().fail(error)
            if not calls:
                del self._held[slot]

    def _fail_held(self, error: Exception) -> None:
        held, self._held = self._held, {}
        for calls in held.values():
            for call in calls:
                call.fail(error)
