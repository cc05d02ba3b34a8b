"""Group messages that come as they come, whether or not the layer keeps up: an open loop.

A message counts from the time at which it was due, so that a layer which falls behind can't hide
that by being offered less. One process sends; the members are in others.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.survey.consumers import WARMING
from benchmarks.survey.crew import crew

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from channels.layers import BaseChannelLayer

    from benchmarks.survey.crew import Crew
    from benchmarks.survey.trial import Job, Trial

WARM_UP = 2  # messages to each group: after the second it is known to be as it was
AT_A_TIME = 20  # messages of the warm-up
# An event loop's timer is up to a millisecond late, and so is the wait after it: not the layer's.
TIMER = 0.0015  # seconds
# For what is on its way when the time is over: so long at most, and so long without an arrival.
DRAIN = 5.0  # seconds
QUIET = 0.6  # seconds
LOOK = 0.1  # seconds
TICKS = os.sysconf("SC_CLK_TCK")


async def load(trial: Trial) -> None:
    """Send `rate` messages a second, to `groups` groups in turn, each with `members` members."""
    job = trial.job
    layer = job.layer()
    groups = [f"room{number}" for number in range(job.parameters["groups"])]
    here, beyond = divmod(job.parameters["members"], job.parameters["processes"])
    if beyond:
        raise ValueError("members must be a multiple of processes")
    async with crew(
        "consumers.Listeners", job, job.parameters["processes"], groups, here
    ) as others:
        await _warm_up(layer, job, groups)
        trial.begin()
        before = await _look(others)
        sends = await _offer(layer, job, groups)
        after = await _look(others)
        done = [send for send in sends if send.done() and not send.exception()]
        trial.end(max(len(done), 1))
        await _drain(others, sends, job)
        await _report(trial, others, Course(before, after, sends, len(done)))
    await layer.flush()


class Look(NamedTuple):
    """Counts up to some time."""

    at: float
    busy: float
    own_cpu: float
    listeners: Sequence[Mapping[str, float]]

    @property
    def arrived(self) -> float:
        """The number of messages that the members have received."""
        return sum(one["arrived"] for one in self.listeners)


class Course(NamedTuple):
    """The load, from its begin to its end."""

    before: Look
    after: Look
    sends: Sequence[asyncio.Task[None]]
    # So many were done at the end.
    done: int


async def _warm_up(layer: BaseChannelLayer, job: Job, groups: Sequence[str]) -> None:
    message = job.message(due=WARMING)
    for _ in range(WARM_UP):
        for start in range(0, len(groups), AT_A_TIME):
            some = groups[start : start + AT_A_TIME]
            await asyncio.gather(*(layer.group_send(group, message) for group in some))


async def _look(others: Crew) -> Look:
    listeners = await others.call("count")
    return Look(time.monotonic(), machine_busy(), time.process_time(), listeners)


async def _offer(
    layer: BaseChannelLayer, job: Job, groups: Sequence[str]
) -> list[asyncio.Task[None]]:
    """Begin to send each message when it is due; return all sends when the time is over."""
    rate = job.parameters["rate"]
    total = math.ceil(rate * job.seconds)
    sends: list[asyncio.Task[None]] = []
    start = time.monotonic()
    while len(sends) < total:
        now = time.monotonic()
        # All that are due by now, in one turn; then it is the layer's turn, however late it is.
        for number in range(len(sends), min(int((now - start) * rate) + 1, total)):
            due = start + number / rate
            message = job.message(due=now if now - due < TIMER else due)
            send = layer.group_send(groups[number % len(groups)], message)
            sends.append(asyncio.ensure_future(send))
        await _until(start + len(sends) / rate)
    await _until(start + job.seconds)
    return sends


async def _until(moment: float) -> None:
    await asyncio.sleep(max(moment - time.monotonic(), 0))


async def _drain(others: Crew, sends: Sequence[asyncio.Task[None]], job: Job) -> None:
    """Return when all has arrived, or nothing arrives any more, or it takes too long."""
    over = time.monotonic() + DRAIN
    _, unsent = await asyncio.wait(sends, timeout=DRAIN)
    for send in unsent:
        send.cancel()
    await asyncio.gather(*unsent, return_exceptions=True)
    arrived, since = -1.0, time.monotonic()
    while time.monotonic() < over and time.monotonic() - since < QUIET:
        look = await _look(others)
        if look.arrived == len(sends) * job.parameters["members"]:
            break
        if look.arrived != arrived:
            arrived, since = look.arrived, look.at
        await asyncio.sleep(LOOK)


async def _report(trial: Trial, others: Crew, course: Course) -> None:
    """Note all figures; what is for a second is for one of the load, not of the drain."""
    before, after, sends, done = course
    seconds, members = after.at - before.at, trial.job.parameters["members"]
    end = await _look(others)
    if not end.arrived:
        raise RuntimeError("nothing arrived")
    failed = sum(send.cancelled() or send.exception() is not None for send in sends)
    own = (after.own_cpu - before.own_cpu) / seconds
    theirs = [
        (now["cpu"] - then["cpu"]) / (now["at"] - then["at"])
        for then, now in zip(before.listeners, after.listeners, strict=True)
    ]
    last = max(one["last"] for one in end.listeners)
    # Receivers that keep up have the last message just after it was sent.
    trial.figures["deliveries"] = end.arrived / max(last - before.at, trial.job.seconds)
    trial.figures |= {
        "offered": len(sends) * members / trial.job.seconds,
        "sent": done / seconds,
        "lost": (len(sends) - failed) * members - end.arrived,
        "failed": failed,
        "cores": own + sum(theirs),
        "busiest": max(own, *theirs),
        "machine": (after.busy - before.busy) / seconds,
        "operations": done,
        "seconds": seconds,
    }
    latencies = [one for told in await others.call("latencies") for one in told]
    trial.percentiles(latencies)


def machine_busy() -> float:
    """Return the CPU time that all processes of this machine have used."""
    with Path("/proc/stat").open(encoding="ascii") as told:
        user, nice, system, _idle, _waiting, *more = map(int, told.readline().split()[1:])
    # The last two, a guest's, are in the first two already.
    return (user + nice + system + sum(more[:3])) / TICKS
