"""A process of a crew: members of some groups, each waiting in `receive` as a consumer does.

It says when all have joined. From then on it answers each line from above: "count" with how much
has arrived and how much CPU time it has used, "latencies" with how long each message took.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.survey.crew import assignment
from benchmarks.survey.trial import say
from benchmarks.survey.works import SETTLE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from channels.layers import BaseChannelLayer

AT_A_TIME = 50  # members that join
WARMING = 0.0  # in the place of a message's time: it is no part of the measurement


def group_names(count: int) -> list[str]:
    """Return the names of so many groups."""
    return [f"room{number}" for number in range(count)]


class Listeners:
    """The members of the groups in this process, each with a channel of its own.

    Args:
        layer: The layer of this process.
        groups: The groups.
        members: How many members each of them has here.
    """

    def __init__(self, layer: BaseChannelLayer, groups: Iterable[str], members: int) -> None:
        self._layer = layer
        self._seats = [group for group in groups for _ in range(members)]
        self._latencies: list[float] = []
        self._last = 0.0
        self._consumers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Join, and wait for messages."""
        seats = iter(self._seats)
        while some := list(itertools.islice(seats, AT_A_TIME)):
            channels = await asyncio.gather(*map(self._join, some))
            self._consumers += [asyncio.ensure_future(self._consume(one)) for one in channels]
        await asyncio.sleep(SETTLE_SECONDS)
        # Garbage of the set-up is no part of what is measured.
        gc.collect()
        gc.freeze()

    async def stop(self) -> None:
        """Wait no longer."""
        for consumer in self._consumers:
            consumer.cancel()
        await asyncio.gather(*self._consumers, return_exceptions=True)

    def serve(self) -> None:
        """Answer each line from above, until there are no more; blocks, so it has a thread."""
        while asked := sys.stdin.readline():
            say(self._count() if json.loads(asked) == "count" else self._rounded())

    async def _join(self, group: str) -> str:
        channel: str = await self._layer.new_channel()
        await self._layer.group_add(group, channel)
        return channel

    async def _consume(self, channel: str) -> None:
        while True:
            due = (await self._layer.receive(channel))["due"]
            if due != WARMING:
                self._last = now = time.monotonic()
                self._latencies.append(now - due)

    def _count(self) -> dict[str, float]:
        return {
            "arrived": len(self._latencies),
            "last": self._last,
            "cpu": time.process_time(),
            "at": time.monotonic(),
        }

    def _rounded(self) -> list[float]:
        # To a microsecond: there may be half a million of them.
        return [round(latency, 6) for latency in self._latencies]


async def main() -> None:
    """Be a process of a crew."""
    job, share = assignment(sys.stdin.readline())
    listeners = Listeners(job.layer(), group_names(job.parameters["groups"]), share["members"])
    await listeners.start()
    say(None)
    await asyncio.to_thread(listeners.serve)
    await listeners.stop()


if __name__ == "__main__":
    asyncio.run(main())
