"""Sends the commands of one turn of the event loop in one write, and gives each caller its reply.

A `Batcher` belongs to one event loop and one host. Everything but a process's blocking reads goes
through it, so it is where most of the throughput comes from.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter, deque
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError

from .connections import pack
from .outages import Backoff, is_outage, was_refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .connections import Command, Connector, Link
    from .scripts import Script

# A write keeps the server from everybody else while it is carried out, so it is bounded.
MAX_COMMANDS = 1000
MAX_BYTES = 1_000_000
_NOTHING: Mapping[str, int] = MappingProxyType({})


@dataclass(eq=False)
class Call:
    """A command on its way to the server, and the future of its reply."""

    # As it goes over the wire.
    packed: bytes
    reply: asyncio.Future[Any]
    deadline: float
    # Whether it may be carried out twice: never so for what adds or returns a message.
    repeatable: bool
    # Message keys that the command adds a message to, and how many one write may add to each.
    fills: Mapping[str, int]

    def fail(self, error: BaseException) -> None:
        """Raise the error in the caller, in an instance of its own."""
        if not self.reply.done():
            self.reply.set_exception(copy_of(error))
            # The caller may be gone: then nobody retrieves it, and that is no fault.
            self.reply.exception()


class Batcher:
    """The command connection to one host, opened when first needed.

    Args:
        connector: Opens the connection.
        scripts: Loaded whenever a connection opens.
    """

    def __init__(self, connector: Connector, scripts: Sequence[Script] = ()) -> None:
        self._connector = connector
        self._load = [script.load for script in scripts]
        self._seconds = connector.host.timeout
        self._calls: deque[Call] = deque()
        self._link: Link | None = None
        self._runner: asyncio.Task[None] | None = None

    async def execute(
        self,
        command: Command,
        *,
        repeatable: bool = False,
        fills: Mapping[str, int] | None = None,
    ) -> Any:
        """Send the command and return its reply.

        Args:
            command: The command.
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
        loop = asyncio.get_running_loop()
        call = Call(
            pack(command),
            loop.create_future(),
            loop.time() + self._seconds,
            repeatable,
            fills or _NOTHING,
        )
        self._calls.append(call)
        if self._runner is None:
            # In an empty context: the task serves other callers too.
            self._runner = contextvars.Context().run(loop.create_task, self._run())
        return await call.reply

    async def close(self) -> None:
        """Close the connection. A later command opens a new one."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait([self._runner])
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
        batch: list[Call] = []
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
            if not is_outage(error):
                self._fail_all(error)
            return error
        return None

    async def _send(self, batch: list[Call]) -> Exception | None:
        """Carry out the batch; return why the connection can't be used any more."""
        link = self._link
        if link is None or link.is_stale:
            await self._drop()
            self._calls.extendleft(reversed(batch))
            return None
        try:
            replies = await link.exchange_packed([call.packed for call in batch], self._seconds)
        except (RedisError, OSError) as error:
            await self._drop()
            self._put_back([call for call in batch if call.repeatable], error)
            for call in batch:
                if not call.repeatable:
                    call.fail(error)
            return error
        return await self._settle(batch, replies)

    async def _settle(self, batch: list[Call], replies: list[Any]) -> Exception | None:
        again: list[Call] = []
        trouble: Exception | None = None
        for call, reply in zip(batch, replies, strict=True):
            if not isinstance(reply, Exception):
                if not call.reply.done():
                    call.reply.set_result(reply)
            elif isinstance(reply, NoScriptError) or was_refused(reply):
                # Not carried out: it may go again, whatever it is.
                again.append(call)
                trouble = reply
            else:
                call.fail(reply)
        if trouble is not None:
            # A new connection loads the scripts, and asks anew who the master is.
            await self._drop()
            self._put_back(again, trouble)
            if isinstance(trouble, NoScriptError):
                return None
        return trouble

    def _put_back(self, calls: list[Call], error: Exception) -> None:
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


def next_batch(calls: deque[Call]) -> list[Call]:
    """Remove from `calls` what the next write carries, in order.

    The server carries out a whole write before the reader that the first message woke takes
    anything, so one write must not fill a message key to its capacity.
    """
    batch: list[Call] = []
    filled: Counter[str] = Counter()
    size = 0
    while calls and len(batch) < MAX_COMMANDS and size < MAX_BYTES:
        call = calls[0]
        if call.fills and _is_full(filled, call.fills):
            break
        for key in call.fills:
            filled[key] += 1
        size += len(call.packed)
        batch.append(calls.popleft())
    return batch


def _is_full(filled: Counter[str], fills: Mapping[str, int]) -> bool:
    return any(filled[key] >= most for key, most in fills.items())


def copy_of(error: BaseException) -> BaseException:
    """Return an equal error: one raised in many callers would gather all their tracebacks."""
    try:
        copy = type(error)(*error.args)
    except TypeError:
        return error
    copy.__cause__ = error.__cause__
    return copy
