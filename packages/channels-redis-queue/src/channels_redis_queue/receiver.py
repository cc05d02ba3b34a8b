"""Read one message key of one host on a connection of its own, and recover from faults."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, RedisError, ResponseError

from ._shared.concurrency import end_task, start_task, timeout
from ._shared.transport.commands import pack
from ._shared.transport.errors import is_temporary
from ._shared.transport.reconnecting import Backoff, OutageLog
from .protocol.inbox import BLOCK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._shared.transport.commands import Command, CommandClient
    from ._shared.transport.connection import Connection
    from ._shared.transport.connector import Connector
    from .protocol.inbox import Inbox

logger = logging.getLogger(__package__)

# Seconds beyond a wait after which a silent connection is dropped.
REPLY_GRACE = 5
# Seconds that a consumer has to call `receive` again for what was prefetched for it.
RESUME_TIMEOUT = 0.002
# Seconds that a receiver without waiting calls keeps its connection.
IDLE_TIMEOUT = 30
# Seconds that stopping may take.
STOP_TIMEOUT = 2


class State(enum.Enum):
    """The states of a receiver.

    | state      | what it does                       | what moves it on                           |
    | ---------- | ---------------------------------- | ------------------------------------------ |
    | CONNECTING | opens a connection, and takes what | the replies: READING;                      |
    |            | a lost one has left in the claims  | settings that don't fit the server: FAILED |
    | READING    | has a wait and a take at the       | no call wants messages: RESTING;           |
    |            | server                             | the connection breaks: CONNECTING          |
    | RESTING    | takes nothing                      | `wake`: READING; 30 s without: ENDED       |
    | STOPPING   | reads the replies that are due,    | all is settled: ENDED;                     |
    |            | puts back what was not received    | it is not within 2 s: STOPPED              |
    | STOPPED    | nothing; claims may hold messages  |                                            |
    | FAILED     | nothing; waiting calls raise why   |                                            |
    | ENDED      | nothing, and has left nothing      |                                            |

    When its task is cancelled, one of the first three becomes STOPPED, and `stop` makes that
    STOPPING. When its event loop was closed, one of the first four becomes STOPPED. The next call
    that waits starts a receiver in one of the last three again, perhaps in another event loop.
    """

    CONNECTING = enum.auto()
    READING = enum.auto()
    RESTING = enum.auto()
    STOPPING = enum.auto()
    STOPPED = enum.auto()
    FAILED = enum.auto()
    ENDED = enum.auto()


# Tuples: comparing with three takes less time than hashing one.
SERVING = (State.READING, State.RESTING, State.CONNECTING)


STARTABLE = (State.STOPPED, State.FAILED, State.ENDED)


class Receiver:
    """The one reader of a message key in a broker. It outlives event loops, as its inbox does.

    Args:
        inbox: The state of the protocol for the message key.
        connector: Opens the receiver's connection.
        find_commands: Returns the command connections of the running event loop to the same host.
        outages: Logs when the host is lost and found.
        on_end: Called with the address when it has ended or failed.
    """

    def __init__(
        self,
        inbox: Inbox,
        connector: Connector,
        find_commands: Callable[[], CommandClient],
        outages: OutageLog,
        on_end: Callable[[str], object],
    ) -> None:
        self.inbox = inbox
        self.state = State.STOPPED
        # The error that it failed with.
        self.failure: BaseException | None = None
        self._connector = connector
        self._find_commands = find_commands
        self._outages = outages
        self._dispatcher = inbox.dispatcher
        self._on_end = on_end
        # True once a wait with a take has succeeded: the settings fit the server.
        self._is_accepted = False
        self._connection: Connection | None = None
        # The handlers of the replies that have not come, in order.
        self._handlers: deque[Callable[[Any], None]] = deque()
        # That of the event loop that it was started in.
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read in the running event loop."""
        self.state, self.failure, self._is_accepted = State.CONNECTING, None, False
        self._commands = self._find_commands()
        self._task = start_task(self._run())
        self._task.add_done_callback(self._finished)

    def wake(self) -> None:
        """Take messages again: a call may wait."""
        if self.state is State.RESTING and not self._woken.done():
            self._woken.set_result(True)

    async def stop(self) -> None:
        """Stop reading without losing messages that arrive meanwhile."""
        if self._task is None:
            return
        await end_task(self._task)
        if self.state is State.STOPPED:
            self.state = State.STOPPING
            with contextlib.suppress(RedisError, OSError, asyncio.TimeoutError):
                async with timeout(STOP_TIMEOUT):
                    await self._finish()
            if self.state is State.STOPPING:
                self.state = State.STOPPED
        self._outages.forget(self)
        self._drop()
        self._task = None

    def abandon(self) -> None:
        """Drop what belongs to an event loop that was closed."""
        if self.state not in STARTABLE:
            self.state = State.STOPPED
        self._outages.forget(self)
        self._task = None
        self._drop()
        self.inbox.abandon()

    def _finished(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self.state = State.STOPPED
        elif task.exception() is not None:
            # This is a bug. Propagate it to waiting calls so that they don't hang.
            self.state, self.failure = State.FAILED, task.exception()
            logger.error("Receiving %s failed", self._dispatcher.channel, exc_info=self.failure)
        self._on_end(self._dispatcher.channel)

    async def _run(self) -> None:
        backoff = Backoff()
        may_be_blocked = self.inbox.has_taken
        while self.state in SERVING:
            try:
                if may_be_blocked:
                    # Before the first take, so that this returns what another connection of this
                    # receiver takes behind the wait that it may be in.
                    await self._unblock()
                    may_be_blocked = False
                connection = await self._connect()
                backoff.reset()
                await self._serve(connection)
            except (RedisError, OSError, asyncio.TimeoutError) as caught:
                error = self._name_keys(caught)
                self._drop()
                away = is_temporary(error)
                if away or self._is_accepted:
                    self.state = State.CONNECTING
                    self._outages.lost(self, error)
                    await asyncio.sleep(backoff.next() if away else Backoff.LONGEST)
                else:
                    self.state, self.failure = State.FAILED, error
                # It keeps the lost connection alive.
                del error
        self._drop()
        self._outages.forget(self)

    async def _unblock(self) -> None:
        """End the blocking wait that a connection of this receiver may be in."""
        commands, nudge = self._commands, self.inbox.nudge
        await asyncio.gather(
            commands.execute(("ZADD", nudge, 0, ""), key=nudge, idempotent=True),
            commands.execute(("EXPIRE", nudge, BLOCK_SECONDS), key=nudge, idempotent=True),
        )

    async def _open(self) -> Connection:
        self._connection = connection = await self._connector.open_to(self.inbox.key)
        return connection

    async def _connect(self) -> Connection:
        connection = await self._open()
        # Messages that a lost connection has taken come before those of a new wait.
        await self._take(connection, self._dispatcher.prefetch_count())
        self._outages.found(self)
        return connection

    async def _serve(self, connection: Connection) -> None:
        """Receive until no call has waited for a while."""
        while True:
            count = self._wanted_count()
            if count:
                await self._wait_and_take(connection, count)
                self._is_accepted = True
            elif await self._rest(RESUME_TIMEOUT):
                self._dispatcher.on_receive_resumed()
            else:
                acks = self.inbox.acks
                self._dispatcher.on_receive_stopped(acks)
                if acks.requeues:
                    await self._take(connection, 0)
                elif not await self._rest(IDLE_TIMEOUT):
                    self.state = State.ENDED
                    return

    def _wanted_count(self) -> int:
        """Return the number of messages to take; 0 if none are needed and none came."""
        count = self._dispatcher.prefetch_count()
        return 0 if self.inbox.wait_timed_out and self._dispatcher.is_unused() else count

    async def _rest(self, seconds: float) -> bool:
        """Take nothing for a while; return whether it was woken, or messages are wanted."""
        loop = asyncio.get_running_loop()
        self.state = State.RESTING
        self._woken: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_later(seconds, _time_out, self._woken)
        try:
            return await self._woken or self._wanted_count() > 0
        finally:
            timer.cancel()

    async def _wait_and_take(self, connection: Connection, count: int) -> None:
        """Wait for messages and take them, in one write.

        The server executes the take as soon as the wait ends, which saves a round trip.
        """
        self.state = State.READING
        inbox = self.inbox
        wait = inbox.wait_command(), inbox.on_wait_reply
        try:
            seconds = inbox.block_seconds + REPLY_GRACE
            await self._exchange(connection, seconds, wait, *inbox.take(count))
        except NoScriptError:
            # Before any new wait: this one may have consumed the bell of these messages.
            self._handlers.clear()
            await self._take(connection, count)
        else:
            if inbox.must_take_again:
                await self._take(connection, 0)

    async def _take(self, connection: Connection, count: int) -> None:
        """Put back what was requeued, and take without waiting."""
        inbox = self.inbox
        while True:
            requests = *inbox.release(), *inbox.take(count, as_source=True)
            await self._exchange(connection, REPLY_GRACE, *requests)
            if not inbox.must_take_again:
                return
            count = 0

    async def _finish(self) -> None:
        """Read the outstanding replies, and leave nothing in the claims."""
        connection = self._connection
        try:
            if connection is not None and self._handlers:
                if self._handlers[0] == self.inbox.on_wait_reply:
                    await self._unblock()
                await self._exchange(connection, STOP_TIMEOUT)
        except (RedisError, OSError):
            connection = None
        if connection is None:
            # Broken, perhaps within a reply. The claims still hold its messages.
            self._drop()
            await self._unblock()
            connection = await self._open()
        await self._take(connection, 0)
        self._dispatcher.on_receive_stopped(self.inbox.acks)
        await self._take(connection, 0)
        cleanup = self.inbox.cleanup_command()
        if cleanup is not None:
            await connection.exchange([cleanup], REPLY_GRACE)
        # A call that was handed a message might not have run, and may be cancelled.
        if not self.inbox.acks.has_open_claims:
            self.state = State.ENDED
            self._on_end(self._dispatcher.channel)

    async def _exchange(
        self,
        connection: Connection,
        seconds: float,
        *commands: tuple[Command, Callable[[Any], None]],
    ) -> None:
        """Send commands in one write, and call the handler of each reply that is due.

        If this is cancelled, the replies stay due.
        """
        if commands:
            self._handlers.extend(handler for _, handler in commands)
            connection.write([pack(command) for command, _ in commands])
        replies = await connection.take(len(self._handlers), seconds)
        # Not as they arrive: only by running before the worker does this task see it come back.
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
            self._handlers.popleft()(reply)

    def _name_keys(self, error: Exception) -> Exception:
        """Return the error; about a key of a wrong type, one that names those it may be."""
        if "WRONGTYPE" not in str(error):
            return error
        names = ", ".join(self.inbox.keys)
        return ResponseError(f"WRONGTYPE Something else is kept in one of {names}")

    def _drop(self) -> None:
        self._handlers.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _time_out(rest: asyncio.Future[bool]) -> None:
    if not rest.done():
        rest.set_result(False)
