"""Reads one message key of one host, on a connection of its own, through every fault."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ._shared.concurrency.compat import end_task, start_task, timeout
from ._shared.concurrency.loop_local import running_loop
from ._shared.transport.errors import is_temporary
from ._shared.transport.reconnecting import Backoff, OutageLog
from .protocol.inbox import BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._shared.transport.commands import Command
    from ._shared.transport.connection import Connection
    from ._shared.transport.connector import Connector
    from ._shared.transport.pipeline import CommandClient
    from .protocol.inbox import Inbox

logger = logging.getLogger(__package__)

# Seconds beyond a wait until a silent connection is given up.
GRACE = 5
# Seconds that a consumer has to come back for what was taken ahead for it.
PATIENCE = 0.002
# Seconds that a receiver from which nobody wants anything keeps its connection.
LINGER = 30
# Seconds that stopping may take.
STOPPING = 2


class _Replaced(Exception):
    """Another receiver goes on with the intake."""


class Receiver:
    """The one reader of a message key in this process.

    Args:
        inbox: The state of the protocol for the message key.
        connector: Opens the receiver's connection.
        commands: The command connections to the same host.
        outages: Logs when the host is lost and found.
        on_end: Called with the address when nothing will be received here any more.
        inherits: Whether the inbox has commands under way from another receiver, whose loop has
            stopped. It may still be in a wait.
    """

    def __init__(  # noqa: PLR0913 - the parts that it connects
        self,
        inbox: Inbox,
        connector: Connector,
        commands: CommandClient,
        outages: OutageLog,
        on_end: Callable[[str], object],
        *,
        inherits: bool = False,
    ) -> None:
        self.inbox = inbox
        self._connector = connector
        self._commands = commands
        self._outages = outages
        self._delivery = inbox.delivery
        self._on_end = on_end
        self._inherits = inherits
        # Whether another receiver goes on with the intake, since the loop of this one has stopped.
        self._replaced = False
        self._releasing: asyncio.Task[None] | None = None
        self._link: Connection | None = None
        # What to do with the replies that the server owes, in their order.
        self._handlers: deque[Callable[[Any], None]] = deque()
        # Whether a take has succeeded, and whether a wait and a take have.
        self._worked = False
        self._proven = False
        # Whether nothing is asked for, until there is a poke.
        self.idle = False
        # Whether nothing will be received here any more; so it is when the loop is closed, too.
        self.ended = False
        # Why it ended, if the settings do not fit the server.
        self.failure: BaseException | None = None
        # Whether nothing that was taken for it is still at the server, now that it has ended.
        self.settled = False
        self._wake = asyncio.Event()
        # Whether that was a poke, and not the end of waiting for one.
        self._poked = False
        self.loop = asyncio.get_running_loop()
        self._task = start_task(self._run())
        self._task.add_done_callback(self._finished)

    def wake(self) -> None:
        """Say that a consumer may wait, or that there may be something to give back.

        Any thread may call it.
        """
        if running_loop() is self.loop:
            self._heard()
        else:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                self.loop.call_soon_threadsafe(self._heard)

    def replace(self) -> None:
        """Leave everything to another receiver, which goes on with the intake in another loop."""
        self._replaced = self.ended = True

    async def nudge(self) -> None:
        """End the blocking wait that the receiver may be in."""
        commands, nudge = self._commands, self.inbox.nudge
        await asyncio.gather(
            commands.execute(("ZADD", nudge, 0, ""), key=nudge, idempotent=True),
            commands.execute(("EXPIRE", nudge, BLOCK), key=nudge, idempotent=True),
        )

    async def stop(self) -> None:
        """End the reading, without losing what arrives meanwhile."""
        await end_task(self._task)
        # Also if the very first take is under way: what it took must go back.
        if (self._worked or self._link is not None) and not self._replaced:
            with contextlib.suppress(RedisError, OSError, asyncio.TimeoutError):
                async with timeout(STOPPING):
                    await self._finish()
                    self.settled = True
                    self._on_end(self._delivery.channel)
        if self._releasing is not None:
            await end_task(self._releasing)
        self._outages.forget(self)
        await self._drop()

    def abandon(self) -> None:
        """Drop the connection: its event loop is closed."""
        self._outages.forget(self)
        if self._link is not None:
            self._link.abandon()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self.ended = True
        self.settled = not task.cancelled() and not task.exception() and self.failure is None
        if not task.cancelled() and task.exception() is not None:
            # A fault of ours. Whoever waits gets it too, instead of waiting for ever.
            self.failure = task.exception()
            logger.error("Receiving %s failed", self._delivery.channel, exc_info=self.failure)
        self._on_end(self._delivery.channel)

    async def _run(self) -> None:
        backoff = Backoff()
        while True:
            try:
                link = await self._connect()
                backoff.reset()
                await self._serve(link)
            except _Replaced:
                await self._drop()
                break
            except (RedisError, OSError, asyncio.TimeoutError) as caught:
                error = await self._name_keys(caught)
                await self._drop()
                if self._replaced:
                    break
                away = is_temporary(error)
                if not self._proven and not away:
                    self.failure = error
                    break
                self._outages.lost(self, error)
                await asyncio.sleep(backoff.next() if away else Backoff.LONGEST)
            else:
                await self._drop()
                break
        self._outages.forget(self)

    async def _connect(self) -> Connection:
        if self._inherits:
            # Before the first take, so that this one returns all that the other one takes.
            await self.nudge()
            self._inherits = False
        self._link = link = await self._connector.open()
        # What a lost connection has taken comes before anything that a wait may bring.
        await self._take(link, self._delivery.wanted())
        self._worked = True
        self._outages.found(self)
        return link

    async def _serve(self, link: Connection) -> None:
        """Receive until nobody has wanted anything for a while."""
        while True:
            self._wake.clear()
            self._poked = False
            # What goes back is older than all that a take may bring.
            await self._went_back()
            wanted = self._wanted()
            if wanted:
                await self._round(link, wanted)
                self._proven = True
            elif await self._woken(PATIENCE):
                self._delivery.came_back()
            else:
                self._delivery.stayed_away()
                self._release()
                if self._releasing is None and not await self._woken(LINGER):
                    # In this order, so that one who starts to wait in another thread either is
                    # seen here or sees that this receiver is no use any more.
                    self.ended = True
                    if not self._wanted() and self._releasing is None:
                        return
                    self.ended = False

    def _wanted(self) -> int:
        """Return how many messages to take; 0 if nothing has come for a process that needs none."""
        # First, so that one who starts to wait in another thread either is seen here or pokes.
        self.idle = True
        wanted = self._delivery.wanted()
        if not wanted or (self.inbox.in_vain and self._delivery.is_unused()):
            return 0
        self.idle = False
        return wanted

    async def _woken(self, seconds: float) -> bool:
        """Wait for a poke; return whether one came in time."""
        late = self.loop.call_later(seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            late.cancel()
        if not self._poked:
            self._wake.clear()
        return self._poked

    async def _round(self, link: Connection, wanted: int) -> None:
        """Wait for messages and take them: both go out in one write.

        The server carries out the take in the moment in which the wait ends, so that a message
        needs no second round trip.
        """
        inbox = self.inbox
        wait, take = (inbox.wait(), inbox.waited), (inbox.take(wanted), inbox.took)
        try:
            await self._ask(link, inbox.block + GRACE, wait, take)
        except NoScriptError:
            # Before any new wait: this one may have consumed what was rung for these messages.
            self._handlers.clear()
            await self._take(link, wanted)
        else:
            if inbox.again:
                await self._went_back()
                await self._take(link, 0)

    async def _take(self, link: Connection, wanted: int) -> None:
        """Take without waiting."""
        while True:
            take = self.inbox.take(wanted, as_source=True)
            await self._ask(link, GRACE, (take, self.inbox.took))
            if not self.inbox.again:
                return
            await self._went_back()
            wanted = 0

    def _heard(self) -> None:
        self._poked = True
        self._wake.set()
        self._release()

    def _release(self) -> None:
        """Give back what no call here waits for, beside whatever the reader is waiting for."""
        if self.inbox.has_returns and self._releasing is None and not self._replaced:
            self._releasing = start_task(self._give_back())

    async def _went_back(self) -> None:
        """Wait until nothing is on its way back."""
        self._release()
        if self._releasing is not None:
            await asyncio.wait([self._releasing])

    async def _give_back(self) -> None:
        backoff = Backoff()
        try:
            while (release := self.inbox.release()) is not None:
                command, released = release
                key = self.inbox.key
                try:
                    released(await self._commands.execute(command, key=key, idempotent=True))
                except (RedisError, OSError) as error:
                    # It may have been carried out. The next one has a number of its own.
                    if not is_temporary(error):
                        logger.warning("Messages of %s can't go back: %s", self.inbox.key, error)
                    await asyncio.sleep(backoff.next())
        finally:
            self._releasing = None

    async def _finish(self) -> None:
        """Read what the server still owes, and leave nothing in the claims."""
        link = self._link
        try:
            if link is not None and self._handlers:
                if self._handlers[0] == self.inbox.waited:
                    await self.nudge()
                await self._read(link, STOPPING)
        except (RedisError, OSError):
            link = None
        if link is None:
            # Broken, perhaps in the middle of something. The claims know what it was.
            await self._drop()
            self._link = link = await self._connector.open()
        await self._take(link, 0)
        self._delivery.stayed_away()
        await self._went_back()
        await self._take(link, 0)
        farewell = self.inbox.farewell()
        if farewell is not None:
            await self._ask(link, GRACE, (farewell, _ignore))

    async def _ask(
        self, link: Connection, seconds: float, *asked: tuple[Command, Callable[[Any], None]]
    ) -> None:
        """Send commands in one write, and give each reply to its handler."""
        self._handlers.extend(handler for _, handler in asked)
        await link.write([command for command, _ in asked])
        await self._read(link, seconds)

    async def _read(self, link: Connection, seconds: float) -> None:
        """Read what the server owes. When this is cancelled, what is missing is still owed."""
        # Not read_response(timeout=...): at its own deadline it returns None, as a wait that has
        # ended does, and the next read would take one reply for another.
        try:
            replies = await link.take(len(self._handlers), seconds)
        except asyncio.TimeoutError:
            raise RedisTimeoutError(f"{self._connector.host} has gone silent") from None
        # Here, not as they arrive: whether a worker comes back at once shows only if this task has
        # looked before the worker's goes on.
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
            if self._replaced:
                raise _Replaced
            self._handlers.popleft()(reply)
        self._release()

    async def _name_keys(self, error: Exception) -> Exception:
        """Return an error about keys of a wrong type that names them."""
        link, names = self._link, self.inbox.names
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


def _ignore(reply: Any) -> None:
    """Do nothing."""
