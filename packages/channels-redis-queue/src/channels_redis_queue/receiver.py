"""Reads one message key of one host, on a connection of its own, through every fault."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ._shared.deadlines import end_task, timeout
from ._shared.outages import Backoff, OutageLog, may_pass
from .intake import BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._shared.batching import Commands
    from ._shared.commands import Command
    from ._shared.connections import Connector
    from ._shared.links import Link
    from .intake import Intake

logger = logging.getLogger(__package__)

# Seconds beyond a wait until a silent connection is given up.
GRACE = 5
# Seconds that a consumer has to come back for what was taken ahead for it.
PATIENCE = 0.002
# Seconds that a receiver from which nobody wants anything keeps its connection.
LINGER = 30
# Seconds that stopping may take.
STOPPING = 2


@dataclass(frozen=True)
class Line:
    """The way to a message key's host."""

    # Opens the receiver's connection.
    connector: Connector
    # The command connections, to wake the reader while it blocks.
    commands: Commands
    # Told when the host is lost and found.
    outages: OutageLog


class Receiver:
    """The one reader of a message key in this process.

    Args:
        intake: What to ask of the message key.
        line: The way to the host.
        ended: Called when nothing will be received here any more.
    """

    def __init__(self, intake: Intake, line: Line, ended: Callable[[], object]) -> None:
        self.intake = intake
        self._line = line
        self._delivery = intake.delivery
        self._on_end = ended
        self._link: Link | None = None
        # What to do with the replies that the server owes, in their order.
        self._handlers: deque[Callable[[Any], None]] = deque()
        # Whether a take has succeeded, and whether a wait and a take have.
        self._worked = False
        self._proven = False
        # Whether nothing will be received here any more; so it is when the loop is closed, too.
        self.ended = False
        # Why it ended, if the settings do not fit the server.
        self.failure: BaseException | None = None
        # Whether it ended by itself: then nothing that was taken for it is still at the server.
        self.settled = False
        self._wake = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        # In an empty context: it outlives the consumer that started it.
        self._task = contextvars.Context().run(self.loop.create_task, self._run())
        self._task.add_done_callback(self._finished)

    def poke(self) -> None:
        """Say that there may be somebody who waits, or something to give back.

        Any event loop may call it.
        """
        if asyncio.get_running_loop() is self.loop:
            self._wake.set()
        else:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                self.loop.call_soon_threadsafe(self._wake.set)

    async def nudge(self) -> None:
        """End the blocking wait that the receiver may be in."""
        commands, nudge = self._line.commands, self.intake.nudge
        await asyncio.gather(
            commands.execute(("ZADD", nudge, 0, ""), key=nudge, repeatable=True),
            commands.execute(("EXPIRE", nudge, BLOCK), key=nudge, repeatable=True),
        )

    async def stop(self) -> None:
        """End the reading, without losing what arrives meanwhile."""
        await end_task(self._task)
        # Also if the very first take is under way: what it took must go back.
        if self._worked or self._link is not None:
            with contextlib.suppress(RedisError, OSError, asyncio.TimeoutError):
                async with timeout(STOPPING):
                    await self._finish()
        self._line.outages.forget(self)
        await self._drop()

    def abandon(self) -> None:
        """Drop the connection: its event loop is closed."""
        self._line.outages.forget(self)
        if self._link is not None:
            self._link.abandon()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self.ended = True
        self.settled = not task.cancelled() and not task.exception() and self.failure is None
        if not task.cancelled() and task.exception() is not None:
            # A fault of ours. Whoever waits gets it too, instead of waiting for ever.
            self.failure = task.exception()
            logger.error("Receiving %s failed", self._delivery.channel, exc_info=self.failure)
        self._on_end()

    async def _run(self) -> None:
        backoff = Backoff()
        while True:
            try:
                link = await self._connect()
                backoff.reset()
                await self._serve(link)
            except (RedisError, OSError, asyncio.TimeoutError) as caught:
                error = await self._name_keys(caught)
                await self._drop()
                away = may_pass(error)
                if not self._proven and not away:
                    self.failure = error
                    break
                self._line.outages.lost(self, error)
                await asyncio.sleep(backoff.next() if away else Backoff.LONGEST)
            else:
                await self._drop()
                break
        self._line.outages.forget(self)

    async def _connect(self) -> Link:
        self._link = link = await self._line.connector.open()
        # What a lost connection has taken comes before anything that a wait may bring.
        await self._take(link, self._delivery.wanted())
        self._worked = True
        self._line.outages.found(self)
        return link

    async def _serve(self, link: Link) -> None:
        """Receive until nobody has wanted anything for a while."""
        while True:
            self._wake.clear()
            await self._release(link)
            wanted = self._delivery.wanted()
            if wanted:
                await self._round(link, wanted)
                self._proven = True
            elif await self._woken(PATIENCE):
                self._delivery.came_back()
            else:
                self._delivery.stayed_away()
                await self._release(link)
                if not await self._woken(LINGER):
                    # In this order, so that one who starts to wait in another thread either is
                    # seen here or sees that this receiver is no use any more.
                    self.ended = True
                    if not self._delivery.wanted():
                        return
                    self.ended = False

    async def _woken(self, seconds: float) -> bool:
        """Wait for a poke; return whether one came."""
        try:
            async with timeout(seconds):
                await self._wake.wait()
        except asyncio.TimeoutError:
            return False
        return True

    async def _round(self, link: Link, wanted: int) -> None:
        """Wait for messages and take them: both go out in one write.

        The server carries out the take in the moment in which the wait ends, so that a message
        needs no second round trip.
        """
        intake = self.intake
        wait, take = (intake.wait(), intake.waited), (intake.take(wanted), intake.took)
        try:
            await self._ask(link, intake.block + GRACE, wait, take)
        except NoScriptError:
            # Before any new wait: this one may have consumed what was rung for these messages.
            self._handlers.clear()
            await self._take(link, wanted)

    async def _take(self, link: Link, wanted: int) -> None:
        """Take without waiting."""
        take = self.intake.take(wanted, as_source=True)
        await self._ask(link, GRACE, (take, self.intake.took))

    async def _release(self, link: Link) -> None:
        """Give back what nobody here waits for."""
        command = self.intake.release()
        if command is not None:
            await self._ask(link, GRACE, (command, self.intake.released))

    async def _finish(self) -> None:
        """Read what the server still owes, and leave nothing in the claims."""
        link = self._link
        try:
            if link is not None and self._handlers:
                if self._handlers[0] == self.intake.waited:
                    await self.nudge()
                await self._read(link, STOPPING)
        except (RedisError, OSError):
            link = None
        if link is None:
            # Broken, perhaps in the middle of something. The claims know what it was.
            await self._drop()
            self._link = link = await self._line.connector.open()
        await self._take(link, 0)
        self._delivery.stayed_away()
        await self._release(link)
        await self._take(link, 0)

    async def _ask(
        self, link: Link, seconds: float, *asked: tuple[Command, Callable[[Any], None]]
    ) -> None:
        """Send commands in one write, and give each reply to its handler."""
        self._handlers.extend(handler for _, handler in asked)
        await link.write([command for command, _ in asked])
        await self._read(link, seconds)

    async def _read(self, link: Link, seconds: float) -> None:
        """Read what the server owes. When this is cancelled, what is missing is still owed."""
        # Not read_response(timeout=...): at its own deadline it returns None, as a wait that has
        # ended does, and the next read would take one reply for another.
        try:
            replies = await link.take(len(self._handlers), seconds)
        except asyncio.TimeoutError:
            raise RedisTimeoutError(f"{self._line.connector.host} has gone silent") from None
        # Here, not as they arrive: whether a worker comes back at once shows only if this task has
        # looked before the worker's goes on.
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
            self._handlers.popleft()(reply)

    async def _name_keys(self, error: Exception) -> Exception:
        """Return an error about keys of a wrong type that names them."""
        link, names = self._link, self.intake.names
        if link is None or "WRONGTYPE" not in str(error):
            return error
        try:
            replies = await link.exchange([("ZCARD", name) for name in names], GRACE)
        except (RedisError, OSError):
            return error
        wrong = [n for n, reply in zip(names, replies, strict=True) if isinstance(reply, Exception)]
        return ResponseError(f"WRONGTYPE Something else is kept in {', '.join(wrong)}")

    async def _drop(self) -> None:
        self._handlers.clear()
        link, self._link = self._link, None
        if link is not None:
            await link.close()
