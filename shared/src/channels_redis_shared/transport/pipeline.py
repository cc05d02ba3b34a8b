"""Send the commands of one event-loop turn in one write, and give each caller its reply.

An `AutoPipeline` belongs to one event loop and one server. All commands but a process's blocking
reads go through it, so most of the throughput comes from here.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError

from ..clock import monotonic
from ..concurrency import end_task, start_task
from ..ops.statistics import Counters
from .commands import CommandClient, PendingCommand, name_keys, pack
from .errors import is_redirect, is_transient, was_not_executed
from .reconnecting import Backoff

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .commands import Coalescer, Script
    from .connection import Connection
    from .connector import Connector

# The server serves no one else while it executes a write, so a write is bounded.
MAX_COMMANDS = 1000
MAX_BYTES = 1_000_000
# So is a script, in the number of its parts.
MAX_COALESCED = 100


@dataclass(slots=True)
class CoalescedCommand:
    """One command for the server, and the calls that it combines."""

    calls: list[PendingCommand]
    packed: bytes

    def fail(self, error: Exception) -> None:
        """Fail each call with the server's error."""
        error = name_keys(error, self.packed)
        for call in self.calls:
            call.fail(error)

    def answer(self, reply: Any) -> None:
        """Answer each call with its own reply."""
        coalescer = self.calls[0].coalescer
        if coalescer is None:
            future = self.calls[0].reply
            if not future.done():
                future.set_result(reply)
            return
        try:
            replies = coalescer.replies(reply, [call.content for call in self.calls])
            pairs = list(zip(self.calls, replies, strict=True))
        except Exception as error:  # noqa: BLE001 - whatever it is, other calls have no part in it
            self.fail(error)
            return
        for call, own in pairs:
            if isinstance(own, Exception):
                call.fail(own)
            else:
                call.answer(own)


def next_batch(calls: deque[PendingCommand]) -> list[PendingCommand]:
    """Remove the calls of the next write from `calls`, in order; leave out those given up.

    The server executes a whole write before the reader that the first message woke takes anything,
    so one write must not fill a message key to its capacity.
    """
    batch: list[PendingCommand] = []
    filled: Counter[str] = Counter()
    size = 0
    while calls and len(batch) < MAX_COMMANDS and size < MAX_BYTES:
        call = calls[0]
        if call.reply.done():  # cancelled, and not written yet
            calls.popleft()
            continue
        if call.quotas:
            if any([filled[key] >= quota for key, quota in call.quotas.items()]):  # noqa: C419 - faster
                break
            for key in call.quotas:
                filled[key] += 1
        size += call.size
        batch.append(calls.popleft())
    return batch


def coalesce(batch: Sequence[PendingCommand]) -> list[CoalescedCommand]:
    """Coalesce neighbouring calls that have an equal coalescer and slot."""
    commands: list[CoalescedCommand] = []
    # The calls to coalesce next, and the total length of their parts.
    coalescer, slot, length = None, None, 0
    neighbours: list[PendingCommand] = []
    for call in batch:
        if coalescer is not None and (
            # Mostly the same object, and comparing two takes ten times as long.
            (call.coalescer is not coalescer and call.coalescer != coalescer)
            or call.slot != slot
            or length + len(call.content) > MAX_COALESCED
        ):
            commands += _coalesced(coalescer, neighbours)
            coalescer = None
        if call.coalescer is None:
            commands.append(CoalescedCommand([call], call.content))
            continue
        if coalescer is None:
            coalescer, slot, length, neighbours = call.coalescer, call.slot, 0, []
        neighbours.append(call)
        length += len(call.content)
    if coalescer is not None:
        commands += _coalesced(coalescer, neighbours)
    return commands


def _coalesced(coalescer: Coalescer, calls: list[PendingCommand]) -> list[CoalescedCommand]:
    """Return the command of some calls; none if it can't be encoded, which fails only them."""
    try:
        packed = pack(coalescer.command([call.content for call in calls]))
    except Exception as error:  # noqa: BLE001 - whatever it is, other calls have no part in it
        for call in calls:
            call.fail(error)
        return []
    return [CoalescedCommand(calls, packed)]


class AutoPipeline(CommandClient):
    """The command connection to one server.

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
        self._counters = counters or Counters()
        self._was_connected = False
        self._load = [script.load for script in scripts]
        self._seconds = connector.host.timeout
        self._calls: deque[PendingCommand] = deque()
        # Those written and not answered yet.
        self._batch: list[PendingCommand] = []
        self._connection: Connection | None = None
        self._runner: asyncio.Task[None] | None = None
        # True once it was closed. Then it keeps its connection only while calls are pending.
        self.closed = False

    def call(self, command: PendingCommand) -> asyncio.Future[Any]:
        """Add a command to the next write."""
        command.start(self._seconds)
        self.put(command)
        return command.reply

    def put(self, call: PendingCommand) -> None:
        """Add a call to the next write."""
        self._calls.append(call)
        # A task that was cancelled before its first turn, as a loop ended, did not reset `_runner`.
        if self._runner is None or self._runner.done():
            self._runner = start_task(self._run())

    async def nodes(self) -> Sequence[CommandClient]:
        """Return this client."""
        return [self]

    async def close(self) -> None:
        """Close the connection. Later commands open one, and close it again."""
        self.closed = True
        if self._runner is not None:
            await end_task(self._runner)
        # A task that is cancelled before its first turn runs no `except`.
        self._fail_all(RedisConnectionError("The layer was closed"))
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def abandon(self) -> None:
        """Discard the connection without closing it; its event loop is already closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()

    async def _run(self) -> None:
        """Send pending calls, one write after the other, until none is left."""
        backoff: Backoff | None = None
        try:
            while self._calls:
                error = None if self._connection else await self._connect()
                if error is None:
                    self._batch = next_batch(self._calls)
                    error = await self._send(self._batch) if self._batch else None
                    self._batch = []
                if error is None:
                    backoff = None
                elif self._calls:
                    backoff = backoff or Backoff()
                    await self._wait(error, backoff.next())
                if self.closed and not self._calls:
                    # The last command of a call that had begun before the end.
                    await self._drop()
        except BaseException as error:
            # Cancelled, or a bug: propagate it, so that no caller hangs.
            for call in (*self._batch, *self._calls):
                call.fail(RedisConnectionError(f"The layer was closed: {error!r}"))
            self._batch = []
            self._calls.clear()
            await self._drop()
            raise
        finally:
            self._runner = None

    async def _connect(self) -> Exception | None:
        """Open the connection, or return the error."""
        try:
            self._connection = await self._connector.open(self._load)
        except (RedisError, OSError) as error:
            if not is_transient(error):
                self._fail_all(error)
            return error
        self._counters.reconnects += self._was_connected
        self._was_connected = True
        return None

    async def _send(self, batch: list[PendingCommand]) -> Exception | None:
        """Send the batch and resolve its calls; return the error that ends the connection."""
        connection = self._connection
        if connection is None or connection.is_stale or not self._connector.serves(connection):
            await self._drop()
            self._calls.extendleft(reversed(batch))
            return None
        commands = coalesce(batch)
        self._counters.commands += len(batch)
        self._counters.round_trips += 1
        try:
            replies = await connection.exchange_packed(
                [command.packed for command in commands],
                self._seconds,
                # Callers resume before this task does, so that it finds their next commands.
                partial(_answer, commands),
            )
        except (RedisError, OSError) as error:
            await self._drop()
            self._put_back(
                [call for call in batch if call.idempotent and not call.reply.done()], error
            )
            for call in batch:
                if not call.idempotent:
                    call.fail(error)
            return error
        if any([isinstance(reply, Exception) for reply in replies]):  # noqa: C419 - faster
            return await self._settle(commands, replies)
        return None

    async def _settle(
        self, commands: list[CoalescedCommand], replies: list[Any]
    ) -> Exception | None:
        """Handle error replies; return the one that ends the connection, if any."""
        again: list[PendingCommand] = []
        trouble: Exception | None = None
        for command, reply in zip(commands, replies, strict=True):
            if not isinstance(reply, Exception):
                continue
            if isinstance(reply, NoScriptError) or was_not_executed(reply):
                # Not executed, so it is safe to send again.
                again += command.calls
                trouble = reply
            else:
                command.fail(reply)
        if trouble is not None:
            if not is_redirect(trouble):
                # A new connection loads the scripts, and finds the master again.
                await self._drop()
            self._put_back(again, trouble)
            if isinstance(trouble, NoScriptError):
                return None
        return trouble

    def _put_back(self, calls: list[PendingCommand], error: Exception) -> None:
        now = monotonic()
        for call in reversed(calls):
            if call.deadline > now:
                self._calls.appendleft(call)
            else:
                call.fail(error)

    async def _wait(self, error: Exception, seconds: float) -> None:
        """Wait before the next attempt, then fail the calls that are past their deadline."""
        now = monotonic()
        soonest = min(call.deadline for call in self._calls)
        await asyncio.sleep(max(0.0, min(seconds, soonest - now)))
        now = monotonic()
        for call in [call for call in self._calls if call.deadline <= now]:
            self._calls.remove(call)
            call.fail(error)

    def _fail_all(self, error: Exception) -> None:
        for call in self._calls:
            call.fail(error)
        self._calls.clear()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _answer(commands: list[CoalescedCommand], replies: Iterable[Any]) -> None:
    """Resolve the calls whose reply is no error."""
    for command, reply in zip(commands, replies, strict=True):
        if not isinstance(reply, Exception):
            command.answer(reply)
