"""Reads one message key of one host, on a connection of its own, through every fault."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import secrets
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from . import scripts
from ._shared.deadlines import timeout
from ._shared.outages import Backoff, OutageLog, is_outage
from .claims import Claim, Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._shared.batching import Batcher
    from ._shared.connections import Command, Connector, Link
    from .delivery import Delivery
    from .keys import Beside

logger = logging.getLogger(__package__)

# Seconds of one blocking wait: a general channel's message that nobody rang for lies that long.
BLOCK = 5
# The same for a while after such a message: its sender is a channels_redis process, and will send
# more. Redis 5 takes whole seconds only.
BLOCK_AFTER_UNRUNG = 1
UNRUNG_MEMORY = 600
# Seconds beyond a wait until a silent connection is given up.
GRACE = 5
# Seconds that claims outlive their last take: longer than a wait and the reconnecting after it.
CLAIMS_LIVE = 60
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
    # The command connection, to wake the reader while it blocks.
    commands: Batcher
    # Told when the host is lost and found.
    outages: OutageLog


class Receiver:
    """The one reader of a message key in this process.

    Args:
        beside: The keys.
        expiry: Seconds that a message lives.
        line: The way to the host.
        delivery: Who gets what.
        ended: Called when nothing will be received here any more.
    """

    def __init__(
        self,
        beside: Beside,
        expiry: int,
        line: Line,
        delivery: Delivery,
        ended: Callable[[], object],
    ) -> None:
        reader = secrets.token_hex(8)
        self._beside = beside
        self._claims = beside.claims(reader)
        self._nudge = beside.nudge(reader)
        self._expiry = expiry
        self._line = line
        self._delivery = delivery
        self._on_end = ended
        self._ledger = Ledger(max(1000, 4 * delivery.wanted()))
        # Leaves that were carried out, to be acknowledged with the next take.
        self._leaves: list[bytes] = []
        self._unrung_until = 0.0
        self._link: Link | None = None
        # A message that a wait popped from the message key itself: it is in no claims.
        self._popped: list[Claim] = []
        self._worked = False
        self._retired = False
        # Why it ended, if it never worked.
        self.failure: BaseException | None = None
        self._wake = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        # In an empty context: it outlives the consumer that started it.
        self._task = contextvars.Context().run(self.loop.create_task, self._run())
        self._task.add_done_callback(self._finished)

    @property
    def ended(self) -> bool:
        """Tell whether nothing will be received here any more."""
        return self._retired or self._task.done() or self.loop.is_closed()

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
        await self._line.commands.execute(("ZADD", self._nudge, 0, ""), repeatable=True)
        await self._line.commands.execute(("EXPIRE", self._nudge, BLOCK), repeatable=True)

    async def stop(self) -> None:
        """End the reading, without losing what arrives meanwhile."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._link is not None:
            with contextlib.suppress(RedisError, OSError, asyncio.TimeoutError):
                async with timeout(STOPPING):
                    await self._finish(self._link)
            await self._drop()

    def abandon(self) -> None:
        """Drop the connection: its event loop is closed."""
        if self._link is not None:
            self._link.abandon()

    def _finished(self, task: asyncio.Task[None]) -> None:
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
            except (RedisError, OSError, asyncio.TimeoutError) as error:
                await self._drop()
                if not self._worked and not is_outage(error):
                    self.failure = error
                    break
                self._line.outages.lost(self, error)
                await asyncio.sleep(backoff.next())
            else:
                await self._drop()
                break
        self._line.outages.found(self)

    async def _connect(self) -> Link:
        self._link = link = await self._line.connector.open()
        # What a lost connection has taken comes before anything that a wait may bring.
        # Sent as source: after that the server knows the script by its hash.
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
            elif await self._woken(PATIENCE):
                self._delivery.came_back()
            else:
                self._delivery.stayed_away()
                await self._release(link)
                if not await self._woken(LINGER):
                    # In this order, so that one who starts to wait in another thread either is
                    # seen here or sees that this receiver is no use any more.
                    self._retired = True
                    if not self._delivery.wanted():
                        return
                    self._retired = False

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
        waits = [self._nudge, self._beside.bell]
        if "!" in self._delivery.channel:
            # This key has no other reader, and channels_redis rings no bell. With a general
            # channel's key here, a second reader would take messages outside of the claims.
            waits.append(self._beside.key)
        unrung = self._unrung_until > self.loop.time()
        block = BLOCK_AFTER_UNRUNG if unrung else BLOCK
        due, leaves = self._ledger.due(), len(self._leaves)
        take = self._take_command(scripts.TAKE.call, wanted, due)
        await link.write([("BZPOPMIN", *waits, block), take])
        # Not read_response(timeout=…): at its own deadline it returns None, as an ended wait does,
        # and the next read would take one reply for another.
        try:
            async with timeout(block + GRACE):
                ended = _checked(await link.read())
                self._keep_popped(ended)
                reply = await link.read()
        except asyncio.TimeoutError:
            raise RedisTimeoutError(f"{self._line.connector.host} has gone silent") from None
        if isinstance(reply, NoScriptError):
            take = self._take_command(scripts.TAKE.call_with_source, wanted, due)
            [reply] = await link.exchange([take], GRACE)
        fresh = self._deliver(_checked(reply))
        self._settle(due, leaves)
        if ended is None and fresh:
            self._unrung_until = self.loop.time() + UNRUNG_MEMORY

    async def _take(self, link: Link, wanted: int) -> None:
        """Take without waiting."""
        due, leaves = self._ledger.due(), len(self._leaves)
        take = self._take_command(scripts.TAKE.call_with_source, wanted, due)
        [reply] = await link.exchange([take], GRACE)
        self._deliver(_checked(reply))
        self._settle(due, leaves)

    async def _release(self, link: Link) -> None:
        """Give back what nobody here waits for."""
        scores = self._ledger.returns()
        if scores:
            names = (self._beside.key, self._beside.bell, self._claims)
            command = scripts.RELEASE.call_with_source(names, self._expiry, *scores)
            [reply] = await link.exchange([command], GRACE)
            _checked(reply)

    async def _finish(self, link: Link) -> None:
        """Read what the server still owes, and leave nothing in the claims."""
        if link.owed:
            if link.owed > 1:
                await self.nudge()
                self._keep_popped(_checked(await link.read()))
            self._deliver(_checked(await link.read()))
        await self._release(link)
        await self._take(link, 0)
        await self._release(link)

    async def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def _take_command(self, call: Callable[..., Command], wanted: int, due: list[bytes]) -> Command:
        names = (self._beside.key, self._beside.bell, self._claims, self._beside.leaves)
        return call(names, wanted, self._expiry, CLAIMS_LIVE, len(due), *due, *self._leaves)

    def _settle(self, due: list[bytes], leaves: int) -> None:
        """Forget the acknowledgements that the server has answered, not before."""
        self._ledger.settled(due)
        del self._leaves[:leaves]

    def _keep_popped(self, ended: Any) -> None:
        """Keep the message that a wait has popped from the message key itself, if it did."""
        if ended is not None and ended[0] == self._beside.key.encode():
            score = ended[2]
            score = score if isinstance(score, bytes) else repr(score).encode()
            self._popped.append(Claim(ended[1], score))

    def _deliver(self, reply: list[Any]) -> int:
        """Hand out what is new, in order; return how many messages that were."""
        now = float(reply[0])
        claims = [*self._popped, *(Claim(*pair) for pair in _pairs(reply[1]))]
        self._popped.clear()
        leaves = deque(_pairs(reply[2]))
        fresh = 0
        for claim in claims:
            sent = float(claim.score)
            while leaves and float(leaves[0][1]) <= sent:
                self._leave(leaves.popleft()[0])
            if self._ledger.admit(claim):
                fresh += 1
                self._hand_out(claim, min(sent - now, 0) + self._expiry)
        for leave, _ in leaves:
            self._leave(leave)
        return fresh

    def _hand_out(self, claim: Claim, lifetime: float) -> None:
        if lifetime > 0:
            self._delivery.message(claim, self._ledger, lifetime)
        else:
            self._ledger.acknowledge(claim)

    def _leave(self, leave: bytes) -> None:
        self._delivery.leave(leave)
        self._leaves.append(leave)


def _pairs(flat: list[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _checked(reply: Any) -> Any:
    """Return the reply, or raise it if it is an error."""
    if isinstance(reply, Exception):
        raise reply
    return reply
