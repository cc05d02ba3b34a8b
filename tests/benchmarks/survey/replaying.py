"""Sends again, with redis-py alone, what a layer has sent: as fast as its protocol can be.

What is sent on the layer's command connection goes out in pipelines; but one command at a time
where a work waits for each message. A reader of the queue layer has a connection of its own here
too, and asks as the layer does: a wait and a take in one write, again and again. A take
acknowledges what the one before has brought, so takes can't be pipelined. Messages stay bytes, and
they are not delivered but counted, and the next unit of the work begins when all have arrived. So
deliveries to the members of a group are counted, and not made.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from typing import TYPE_CHECKING

from redis.asyncio import Redis

from benchmarks.survey.consumers import SETTLE_SECONDS
from benchmarks.survey.crew import Crew, crew
from benchmarks.survey.raw import Hearer, Taker, Wire, running, wire_to
from benchmarks.survey.recording import Recording, Step
from benchmarks.survey.works import AT_A_TIME, MEMBERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from typing_extensions import Self

    from benchmarks.survey.trial import Job, Trial

# How many messages are on their way before the work waits for all of them; else all there are.
AT_ONCE = {"one-in-flight": 1, "fan-out": 1, "broadcasts": AT_A_TIME}
# How many commands a pipeline has: as many as the concurrent works have callers.
PIPELINED = 50


class Unit:
    """Packed commands up to a wait for their replies and messages."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[list[bytes]]]] = []
        self.arrivals = 0

    def add(self, step: Step) -> None:
        """Send one more."""
        self.arrivals += step.arrivals
        last, commands = self.batches[-1] if self.batches else ("", [])
        if last == step.role == "send" and len(commands) < PIPELINED:
            commands.append(step.words)
        else:
            self.batches.append((step.role, [step.words]))


class Here:
    """The reads of this process."""

    def __init__(self, reader: Taker | Hearer) -> None:
        self._arrivals = reader.arrivals
        self._goal = reader.arrivals.count

    async def all_in(self, count: int) -> None:
        """Return when so many more have arrived."""
        self._goal += count
        await self._arrivals.until(self._goal)


class There:
    """The reads of a process of a crew."""

    def __init__(self, others: Crew) -> None:
        self._others = others
        self._goal = 0

    async def all_in(self, count: int) -> None:
        """Return when so many more have arrived."""
        self._goal += count
        await self._others.call("until", self._goal)


class Taking:
    """A reader of the queue layer's keys in this process. Use it in an `async with`."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        wire = await self._stack.enter_async_context(wire_to(self._job))
        self._reader = taker(wire, Recording.of(self._job))
        await self._stack.enter_async_context(running(self._reader))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def until(self, goal: int) -> None:
        """Return when so many messages have arrived."""
        await self._reader.arrivals.until(goal)


def taker(wire: Wire, recording: Recording) -> Taker:
    """Return a reader that asks what was asked in the work."""
    steps = [*recording.work, *recording.setup]
    wait = next(step.words for step in steps if step.role == "wait")
    return Taker(wire, wait, [step.words for step in steps if step.role == "take"])


async def replay(trial: Trial) -> None:
    """Send again what was recorded of a work, for as long as works are measured."""
    job = trial.job
    work, members = job.parameters["work"], job.parameters.get("members", MEMBERS)
    recording = Recording.of(job)
    units = list(units_of(recording.work, AT_ONCE.get(work, math.inf)))
    undo = undoing(recording.work)
    samples: list[float] = []
    async with wire_to(job) as wire, _reading(wire, job, recording) as (reader, incoming):
        trial.begin()
        passes = 0
        while trial.unfinished():
            passes += 1
            for unit in units:
                began = time.perf_counter()
                await _send(wire, reader, unit)
                await incoming.all_in(unit.arrivals)
                samples.append(time.perf_counter() - began)
            await _send(wire, reader, undo)
            await incoming.all_in(undo.arrivals)
        trial.end(passes * recording.operations)
    if work in {"fan-out", "broadcasts"}:
        messages = passes * sum(unit.arrivals for unit in units)
        trial.figures["deliveries"] = messages * members / sum(samples)
        trial.percentiles(samples, "all_")
    elif work == "one-in-flight":
        trial.percentiles(samples)
    else:
        trial.figures["rate"] = passes * recording.operations / sum(samples)


def units_of(steps: Iterable[Step], most: float = math.inf) -> Iterator[Unit]:
    """Yield what is sent before so much must have arrived, or before a subscription must be live.

    A channel is of use, and joins a group, when the server has confirmed that it is heard.
    """
    unit = Unit()
    for step in steps:
        if step.role in {"send", "hear"}:
            unit.add(step)
        if unit.arrivals >= most or step.command[0] == "SUBSCRIBE":
            yield unit
            unit = Unit()
    if unit.batches:
        yield unit


def undoing(steps: Iterable[Step]) -> Unit:
    """Return what ends the subscriptions that the steps make, so that they can make them again."""
    heard: dict[str, None] = {}
    for step in steps:
        if step.command[0] == "SUBSCRIBE":
            heard.update(dict.fromkeys(step.command[1:]))
        elif step.command[0] == "UNSUBSCRIBE":
            for name in step.command[1:]:
                heard.pop(name, None)
    unit = Unit()
    if heard:
        unit.add(Step("hear", ["UNSUBSCRIBE", *heard], len(heard)))
    return unit


async def _send(wire: Wire, reader: Taker | Hearer, unit: Unit) -> None:
    for role, commands in unit.batches:
        if role == "hear":
            await reader.ask(commands[0])
        else:
            await wire.execute(commands)


@contextlib.asynccontextmanager
async def _reading(
    wire: Wire, job: Job, recording: Recording
) -> AsyncIterator[tuple[Taker | Hearer, Here | There]]:
    """Do the set-up, and read until the block ends."""
    async with wire_to(job) as second, Redis.from_url(job.hosts[0]) as client:
        pubsub = client.pubsub()
        takes = [step for step in recording.setup if step.role == "take"]
        reader = taker(second, recording) if takes else Hearer(pubsub)
        # The last take once more: it acknowledges what the set-up has brought.
        for step in [*recording.setup, *takes[-1:]]:
            if step.role == "send":
                await wire.execute([step.words])
            elif step.role != "wait":  # There would be nothing to wait for.
                await reader.ask(step.words)
        if job.parameters["work"] == "workers":
            async with crew("replaying.Taking", job, 1) as others:
                yield reader, There(others)
        else:
            async with running(reader):
                await asyncio.sleep(SETTLE_SECONDS)  # Until the set-up's confirmations are read.
                yield reader, Here(reader)
        await pubsub.aclose()
