"""redis-py alone: a connection, and readers that count what comes, without a look at it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from redis.asyncio.client import PubSub
    from redis.asyncio.connection import AbstractConnection

    from benchmarks.survey.trial import Job

    Word = bytes | int


class Wire:
    """A connection of redis-py. Its client is left out: what that does beyond it takes longer."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection

    async def execute(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Send the commands in one write, and return their replies."""
        connection = self._connection
        packed = connection.pack_commands(commands)
        await connection.send_packed_command(packed, check_health=False)
        return [await connection.read_response() for _ in commands]


@contextlib.asynccontextmanager
async def wire_to(job: Job) -> AsyncIterator[Wire]:
    """Connect to the server that the job names."""
    async with Redis.from_url(job.hosts[0], socket_timeout=None, protocol=2) as client:
        connection = client.connection_pool.make_connection()
        await connection.connect()
        yield Wire(connection)
        await connection.disconnect()


class Arrivals:
    """Counts what arrives."""

    def __init__(self) -> None:
        self.count = 0
        self._goal = math.inf
        self._reached = asyncio.Event()
        self._failure: BaseException | None = None

    def add(self, count: int) -> None:
        """Count so many."""
        self.count += count
        if self.count >= self._goal:
            self._reached.set()

    def end(self, reading: asyncio.Task[None]) -> None:
        """Note that nothing will arrive any more: the reading has ended."""
        if not reading.cancelled() and reading.exception() is not None:
            self._failure = reading.exception()
            self._reached.set()

    async def until(self, goal: int) -> None:
        """Return when so many have arrived altogether."""
        self._goal = goal
        if self.count < goal:
            self._reached.clear()
            await self._reached.wait()
        if self._failure is not None:
            raise self._failure


class Taker:
    """Reads from the queue layer's keys as its reader does, by a wait and a take in turn.

    A take acknowledges what the one before has brought: it is given without that.
    """

    def __init__(self, wire: Wire, wait: Sequence[Word], takes: Sequence[Sequence[Word]]) -> None:
        self.arrivals = Arrivals()
        self._wire = wire
        self._wait = wait
        self._takes = takes
        # Scores of what the last take has brought.
        self._due: list[bytes] = []

    async def ask(self, take: Sequence[Word]) -> None:
        """Take without waiting."""
        self._took((await self._wire.execute(self._asked(take)))[1])

    async def run(self) -> None:
        """Wait, take and read the claims, again and again: all in one write."""
        for take in itertools.cycle(self._takes):
            self._took((await self._wire.execute([self._wait, *self._asked(take)]))[2])

    def _asked(self, take: Sequence[Word]) -> list[Sequence[Word]]:
        # The last of a script's keys.
        claims = take[5]
        return [(*take, *self._due), (b"ZRANGEBYSCORE", claims, 0, b"+inf", b"WITHSCORES")]

    def _took(self, claims: list[Any]) -> None:
        self._due = claims[1::2]
        self.arrivals.add(len(self._due))


class Hearer:
    """Receive published messages with redis-py's PubSub."""

    def __init__(self, pubsub: PubSub) -> None:
        self.arrivals = Arrivals()
        self._pubsub = pubsub

    async def ask(self, command: Sequence[Word]) -> None:
        """Ask for subscriptions, or for their end."""
        await self._pubsub.execute_command(*command)

    async def run(self) -> None:
        """Read what comes, again and again; nothing, if nothing is subscribed to."""
        while self._pubsub.connection is not None:
            await self._pubsub.parse_response()
            self.arrivals.add(1)


@contextlib.asynccontextmanager
async def running(reader: Taker | Hearer) -> AsyncIterator[None]:
    """Let a reader run until the block ends."""
    reading = asyncio.ensure_future(reader.run())
    reading.add_done_callback(reader.arrivals.end)
    yield
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
