"""Group messages to real WebSockets behind real servers, and how long until the browsers have them.

Servers and clients are separate processes. A client says something to its server, and the consumer
there sends it to the group.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from typing import TYPE_CHECKING

from benchmarks.survey.consumers import SETTLE_SECONDS
from benchmarks.survey.contenders import CONTENDERS
from benchmarks.survey.crew import crew
from support.browsers import Browsers

if TYPE_CHECKING:
    from benchmarks.survey.trial import Trial

WARM_UP = 2  # messages
AT_LEAST = 5  # messages, however long they take
# Frames of the messages that are under way together: of two messages at least.
UNDER_WAY = 20_000
# Frames of all messages that are sent so, of eight messages at least; fewer in a short trial.
TOGETHER = 60_000


class SocketIO(Browsers):
    """Browsers that speak Socket.IO."""

    def __init__(self) -> None:
        super().__init__(path="/socket.io/?EIO=4&transport=websocket")

    async def connect(self, ports: list[int], count: int) -> None:
        """Open so many WebSockets, and join on each, which the server greets both times."""
        greetings = self.expect(2 * count)
        await super().connect(ports, count)
        for browser in self.all:
            browser.write("40")
        await greetings

    def say(self, browser: int, content: object) -> None:
        """Send an event."""
        self.all[browser].write(f'42["say",{json.dumps(content)}]')


async def sockets(trial: Trial) -> None:
    """Send to the room, and again when all have it; then keep many messages under way."""
    job = trial.job
    members = job.parameters["members"]
    browsers = (SocketIO if job.contender.startswith("socket.io") else Browsers)()
    words = job.message()["text"]
    site = CONTENDERS[job.contender].site
    async with crew(site, job, job.parameters["processes"]) as servers:
        await browsers.connect(await servers.call("port"), members)
        await asyncio.sleep(2 * SETTLE_SECONDS)
        try:

            def say(number: int) -> None:
                browsers.say(number % members, {"text": words, "number": number})

            async def say_and_wait(number: int) -> float:
                arrived = browsers.expect(members)
                began = time.perf_counter()
                say(number)
                return await arrived - began

            async def cpu() -> float:
                return math.fsum(await servers.call("cpu"))

            async def keep_under_way(count: int, window: int) -> float:
                arrived = [browsers.expect(members) for _ in range(count)]
                began = time.perf_counter()
                for number in range(count):
                    if number >= window:
                        await arrived[number - window]
                    say(number)
                return await arrived[-1] - began

            for number in range(WARM_UP):
                await say_and_wait(number)
            samples: list[float] = []
            await servers.call("forget_garbage")
            trial.begin()
            before = await cpu()
            while trial.unfinished() or len(samples) < AT_LEAST:
                samples.append(await say_and_wait(len(samples)))
            trial.figures["frame_cpu"] = (await cpu() - before) / (len(samples) * members)
            trial.end(len(samples))
            trial.percentiles(samples, "all_")
            count = max(int(TOGETHER * min(job.seconds, 1)) // members, 8)
            before = await cpu()
            took = await keep_under_way(count, max(UNDER_WAY // members, 2))
            trial.figures["deliveries"] = count * members / took
            trial.figures["busy_frame_cpu"] = (await cpu() - before) / (count * members)
        finally:
            browsers.close()
