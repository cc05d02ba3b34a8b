"""Messages from one consumer to another, in one process."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks.measuring import listening

if TYPE_CHECKING:
    from benchmarks.survey.trial import Trial

SENDERS = 50
WARM_UP = 50  # messages: connections are open then, scripts loaded, code specialised


async def one_in_flight(trial: Trial) -> None:
    """Send a message to a waiting consumer, and the next one when that one has arrived."""
    layer, message = trial.job.layer(), trial.job.message()
    channel = await layer.new_channel()
    samples: list[float] = []
    async with listening(layer, [channel]) as arrivals:

        async def one() -> None:
            arrivals.expect(1)
            began = time.perf_counter()
            await layer.send(channel, message)
            await arrivals.all_in()
            samples.append(time.perf_counter() - began)

        for _ in range(WARM_UP):
            await one()
        samples.clear()
        trial.begin()
        while trial.unfinished():
            await one()
        trial.end(len(samples))
    trial.percentiles(samples)
    await layer.flush()


async def many_channels(trial: Trial) -> None:
    """50 senders, each to a channel of its own, until all messages have arrived."""
    layer, message = trial.job.layer(), trial.job.message()
    channels = [await layer.new_channel() for _ in range(SENDERS)]
    # A large message takes long: fewer of them in a burst.
    each = 40 if len(message["text"]) < 1_000 else 10
    async with listening(layer, channels) as arrivals:

        async def sender(channel: str) -> None:
            for _ in range(each):
                await layer.send(channel, message)

        async def burst() -> None:
            arrivals.expect(each * SENDERS)
            await asyncio.gather(*map(sender, channels))
            await arrivals.all_in()

        await burst()
        trial.begin()
        began = time.perf_counter()
        sent = 0
        while trial.unfinished():
            await burst()
            sent += each * SENDERS
        trial.figures["rate"] = sent / (time.perf_counter() - began)
        trial.end(sent)
    await layer.flush()
