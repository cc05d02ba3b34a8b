"""A bare connection of redis-py sends our layers' commands: the limit of their protocols.

Messages stay bytes, and are counted instead of delivered.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
from redis.asyncio import Redis

from benchmarks.survey.crew import crew

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from benchmarks.survey.trial import Job, Trial

    Command = Sequence[object]

LUA = Path(__file__).parents[3] / "packages/channels-redis-queue/src/channels_redis_queue/lua"
# Messages of one pass, and how many of them a write holds: one for each sender.
SENT = {"one-in-flight": (1, 1), "many-channels": (2_000, 50), "workers": (2_000, 50)}
VISITORS = range(20)
KEY, BELL, CLAIMS, EXPIRY = "messages", "bell", "claims", 60


class Wire:
    """A connection of redis-py. What its client does beyond it takes longer."""

    def __init__(self, job: Job) -> None:
        client = Redis.from_url(job.hosts[0], socket_timeout=None, protocol=2)
        self._connection = client.connection_pool.make_connection()

    async def execute(self, *commands: Command, replies: int = 0) -> list[Any]:
        """Send the commands in one write, and return their replies, by default one for each."""
        packed = self._connection.pack_commands(commands)
        await self._connection.send_packed_command(packed, check_health=False)
        return [await self.read() for _ in range(replies or len(commands))]

    async def read(self) -> Any:
        """Return the next reply."""
        return await self._connection.read_response()


class Reader:
    """Counts what arrives. Use it in an `async with`."""

    def __init__(self, job: Job) -> None:
        self.work = job.work
        self.wire = Wire(job)
        self.arrived = 0
        self._came = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._reading = asyncio.ensure_future(self.read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def read(self) -> None:
        """Count until the reader ends."""
        raise NotImplementedError

    def count(self, messages: int) -> None:
        """Note that so many have arrived."""
        self.arrived += messages
        self._came.set()

    async def until(self, goal: int) -> None:
        """Return when so many have arrived altogether."""
        while self.arrived < goal:
            self._came.clear()
            await self._came.wait()


class Queue(Reader):
    """Reads as a process of the queue layer: waits, takes, and acknowledges what it took before."""

    async def read(self) -> None:
        """Wait and take in one write, again and again."""
        most = 6 if self.work == "workers" else 100
        due: list[bytes] = []
        while True:
            _, _, claims = await self.wire.execute(
                ("BZPOPMIN", BELL, 2),
                (*call("take", KEY, BELL, CLAIMS), most, EXPIRY, EXPIRY, *due),
                ("ZRANGEBYSCORE", CLAIMS, 0, "+inf", "WITHSCORES"),
            )
            due = claims[1::2]
            self.count(len(due))

    @staticmethod
    def send(bodies: Sequence[str]) -> list[Command]:
        """Return one call for all messages."""
        places = msgpack.packb([n for body in range(len(bodies)) for n in (1, 100_000, body + 1)])
        return [(*call("send", KEY, BELL), EXPIRY, EXPIRY, "", places, *bodies)]

    @staticmethod
    async def come_and_go(wire: Wire) -> None:
        """Let visitors join a group and leave it."""
        keys = ("group", "members")
        add, discard = call("group_add", *keys), call("group_discard", *keys, KEY)
        await wire.execute(*((*add, "all", EXPIRY, f"visitor{one}") for one in VISITORS))
        names = ((f"plain{one}", f"visitor{one}", "all") for one in VISITORS)
        await wire.execute(*((*discard, *name) for name in names))


class PubSub(Reader):
    """Hears 50 channels."""

    async def read(self) -> None:
        """Subscribe, and read messages."""
        await self.wire.execute(("SUBSCRIBE", *range(50)))
        while True:
            self.count((await self.wire.read())[0] == b"message")

    @staticmethod
    def send(bodies: Sequence[str]) -> list[Command]:
        """Return a command for each message."""
        return [("PUBLISH", number, body) for number, body in enumerate(bodies)]

    @staticmethod
    async def come_and_go(wire: Wire) -> None:
        """Subscribe to the channels of visitors, and end that."""
        for command in ("SUBSCRIBE", "UNSUBSCRIBE"):
            await wire.execute((command, *VISITORS), replies=len(VISITORS))


def call(script: str, *keys: str) -> Command:
    """Return the words with which a call of one of the queue layer's scripts begins."""
    sha = hashlib.sha1((LUA / f"{script}.lua").read_bytes()).hexdigest()  # noqa: S324
    return ("EVALSHA", sha, len(keys), *keys)


async def bare(trial: Trial) -> None:
    """Do what the work of this name makes a layer of ours do."""
    job = trial.job
    kind: type[Queue | PubSub] = Queue if job.contender == "bare-queue" else PubSub
    wire = Wire(job)
    for file in LUA.glob("*.lua"):
        await wire.execute(("SCRIPT", "LOAD", file.read_bytes()))
    if job.work == "churn":
        samples = await trial.repeat(lambda _: kind.come_and_go(wire), operations=len(VISITORS))
        trial.figures["rate"] = samples.rate()
        return
    messages, together = SENT[job.work]
    # No two are equal: a sorted set has each only once.
    bodies = [json.dumps(job.message(number=number)) for number in range(messages)]
    starts = range(0, messages, together)
    writes = [kind.send(bodies[start : start + together]) for start in starts]
    async with contextlib.AsyncExitStack() as stack:
        if job.work == "workers":
            others = await stack.enter_async_context(crew(f"bare.{kind.__name__}", job, 1))
            until: Any = partial(others.call, "until")
        else:
            until = (await stack.enter_async_context(kind(job))).until
        await asyncio.sleep(0.1)

        async def send(number: int) -> None:
            for commands in writes:
                await wire.execute(*commands)
            await until((number + 1) * messages)

        samples = await trial.repeat(send, operations=messages)
    trial.percentiles(samples.seconds)
    trial.figures["rate"] = samples.rate()
