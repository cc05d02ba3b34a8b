"""Send the commands of one event-loop turn in one write, and give each caller its reply.

An `AutoPipeline` belongs to one event loop and one server. All commands but a process's blocking
reads go through it, so most of the throughput comes from here.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError

from ..concurrency.compat import end_task, start_task
from ..ops.statistics import Counters
from .batch import PendingCommand, coalesce, next_batch
from .commands import pack
from .errors import is_redirect, is_transient, was_not_executed
from .reconnecting import Backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping, Sequence

    from .batch import CoalescedCommand, Coalescer
    from .commands import Command, Script
    from .connection import Connection
    from .connector import Connector

_NOTHING: Mapping[str, int] = MappingProxyType({})


class CommandClient(ABC):
    """The command connections of one event loop to one host, opened when first needed."""

    async def execute(
        self,
        command: Command,
        *,
        key: str,
        idempotent: bool = False,
        quotas: Mapping[str, int] | None = None,
    ) -> Any:
        """Send the command and return its reply.

        Args:
            command: The command.
            key: A key that the command uses. In a Cluster, all are in its slot.
            repeatable: Whether the command may be sent again when a connection broke before its
                reply came. What was not written yet is sent on a new connection in any case.
            fills: Message keys to which the command adds a message, with the number of messages
                that one write may add.

        Raises:
            redis.exceptions.ConnectionError: The server is away, for longer than the host's
                `timeout`, or the connection broke after the command was written.
            redis.exceptions.TimeoutError: The server did not answer within `timeout` seconds.
            redis.exceptions.ResponseError: The server refused the command.
        """
        packed = pack(command)
        return await self.call(packed, None, len(packed), idempotent, quotas or _NOTHING, key)

    async def execute_coalesced(  # noqa: PLR0913 - most of them are keywords
        self,
        part: Sequence[Any],
        coalescer: Coalescer,
        size: int,
        *,
        key: str,
        idempotent: bool = False,
        quotas: Mapping[str, int] | None = None,
    ) -> Any:
        """Do the same for a part of a command: neighbours of equal joints are sent as one.

        Args:
            part: What the joint makes a command of, with others.
            joint: Makes it.
            size: About how many bytes the part has.
            key: As for `execute`.
            repeatable: As for `execute`.
            fills: As for `execute`.
        """
        return await self.call(part, coalescer, size, idempotent, quotas or _NOTHING, key)

    def slot(self, key: str) -> int | None:  # noqa: ARG002 - one server has all keys
        """Return the slot of a key in a Cluster: one command may use keys of one slot only."""
        return None

    def node(self, key: str) -> object:  # noqa: ARG002
        """Return what stands for the node of a Cluster that has a key, as far as known."""
        return None

    @property
    def layout(self) -> object:
        """Stands for the nodes of a Cluster and their keys: another object if they change."""
        return None

    @abstractmethod
    async def nodes(self) -> Sequence[CommandClient]:
        """Return the connections to each server that has keys."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections. A later command opens new ones."""

    @abstractmethod
    def abandon(self) -> None:
        """Drop the connections without a word: their event loop is closed."""

    @abstractmethod
    def call(  # noqa: PLR0913, PLR0917 - positions, as this is called for every command
        self,
        content: Any,
        coalescer: Coalescer | None,
        size: int,
        idempotent: bool,  # noqa: FBT001
        quotas: Mapping[str, int],
        key: str,
    ) -> Awaitable[Any]:
        """Let the call go out with the others of this turn; see `PendingCommand`."""


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
        self._link: Connection | None = None
        self._runner: asyncio.Task[None] | None = None

    def call(  # noqa: PLR0913, PLR0917
        self,
        content: Any,
        coalescer: Coalescer | None,
        size: int,
        idempotent: bool,  # noqa: FBT001
        quotas: Mapping[str, int],
        key: str,  # noqa: ARG002 - one server has all keys
    ) -> asyncio.Future[Any]:
        """Let the call go out with the others of this turn; see `PendingCommand`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._seconds
        call = PendingCommand(
            content, coalescer, size, loop.create_future(), deadline, idempotent, quotas
        )
        self.put(call)
        return call.reply

    def put(self, call: PendingCommand) -> None:
        """Let a call go out with the next write."""
        self._calls.append(call)
        # Done, though it did not say so: cancelled before its first turn, as a loop ended.
        if self._runner is None or self._runner.done():
            self._runner = start_task(self._run())

    async def nodes(self) -> Sequence[CommandClient]:
        """Return this."""
        return [self]

    async def close(self) -> None:
        """Close the connection. A later command opens a new one."""
        if self._runner is not None:
            await end_task(self._runner)
        # A task that is cancelled before its first turn runs no `except`.
        self._fail_all(RedisConnectionError("The layer was closed"))
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def abandon(self) -> None:
        """Drop the connection without a word: its event loop is closed."""
        link, self._link = self._link, None
        if link is not None:
            link.abandon()

    async def _run(self) -> None:
        """Send what waits, one write after the other, until nothing waits."""
        backoff = Backoff()
        batch: list[PendingCommand] = []
        try:
            while self._calls:
                error = None if self._link else await self._connect()
                if error is None:
                    batch = next_batch(self._calls)
                    error = await self._send(batch)
                    batch = []
                if error is None:
                    backoff.reset()
                elif self._calls:
                    await self._wait(error, backoff.next())
        except BaseException as error:
            # Cancelled, or a fault of ours: no caller may be left waiting.
            for call in (*batch, *self._calls):
                call.fail(RedisConnectionError(f"The layer was closed: {error!r}"))
            self._calls.clear()
            await self._drop()
            raise
        finally:
            self._runner = None

    async def _connect(self) -> Exception | None:
        """Open the connection; return why it could not be."""
        try:
            self._link = await self._connector.open(self._load)
        except (RedisError, OSError) as error:
            if not is_transient(error):
                self._fail_all(error)
            return error
        self._counters.reconnects += self._was_connected
        self._was_connected = True
        return None

    async def _send(self, batch: list[PendingCommand]) -> Exception | None:
        """Carry out the batch; return why the connection can't be used any more."""
        link = self._link
        if link is None or await link.is_stale():
            await self._drop()
            self._calls.extendleft(reversed(batch))
            return None
        commands = coalesce(batch)
        self._counters.commands += len(batch)
        self._counters.round_trips += 1
        try:
            replies = await link.exchange_packed(
                [command.packed for command in commands],
                self._seconds,
                # Callers go on while this task is on its way, so that it finds what they send next.
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
        return await self._settle(commands, replies)

    async def _settle(
        self, commands: list[CoalescedCommand], replies: list[Any]
    ) -> Exception | None:
        """See to the errors among the replies; return why the connection can't be used any more."""
        again: list[PendingCommand] = []
        trouble: Exception | None = None
        for command, reply in zip(commands, replies, strict=True):
            if not isinstance(reply, Exception):
                continue
            if isinstance(reply, NoScriptError) or was_not_executed(reply):
                # Not carried out: it may go again, whatever it is.
                again += command.calls
                trouble = reply
            else:
                command.fail(reply)
        if trouble is not None:
            if not is_redirect(trouble):
                # A new connection loads the scripts, and asks anew who the master is.
                await self._drop()
            self._put_back(again, trouble)
            if isinstance(trouble, NoScriptError):
                return None
        return trouble

    def _put_back(self, calls: list[PendingCommand], error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        for call in reversed(calls):
            if call.deadline > now:
                self._calls.appendleft(call)
            else:
                call.fail(error)

    async def _wait(self, error: Exception, seconds: float) -> None:
        """Wait before the next try; give up on the calls whose time is over by then."""
        now = asyncio.get_running_loop().time()
        soonest = min(call.deadline for call in self._calls)
        await asyncio.sleep(max(0.0, min(seconds, soonest - now)))
        now = asyncio.get_running_loop().time()
        for call in [call for call in self._calls if call.deadline <= now]:
            self._calls.remove(call)
            call.fail(error)

    def _fail_all(self, error: Exception) -> None:
        for call in self._calls:
            call.fail(error)
        self._calls.clear()

    async def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()


def _answer(commands: list[CoalescedCommand], replies: Iterable[Any]) -> None:
    """Give the callers their replies, but for errors."""
    for command, reply in zip(commands, replies, strict=True):
        if not isinstance(reply, Exception):
            command.answer(reply)
