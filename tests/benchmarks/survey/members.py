"""Members of the group in one process, each waiting in `receive` as a consumer does.

As a program it is a process of a crew: it says when its members have joined and when all of them
have the next message, and ends with its input.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks.survey.crew import assignment
from benchmarks.survey.trial import say
from benchmarks.survey.works import SETTLE_SECONDS, join

if TYPE_CHECKING:
    from channels.layers import BaseChannelLayer
    from typing_extensions import Self


class Members:
    """So many consumers of this process that are in the group."""

    def __init__(self, layer: BaseChannelLayer, members: int) -> None:
        self._layer = layer
        self._count = members
        self._missing: dict[int, int] = {}
        self._complete: dict[int, asyncio.Future[float]] = {}
        self._consumers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        channels = await join(self._layer, self._count)
        self._consumers = [asyncio.ensure_future(self._consume(channel)) for channel in channels]
        await asyncio.sleep(SETTLE_SECONDS)
        return self

    async def __aexit__(self, *_: object) -> None:
        for consumer in self._consumers:
            consumer.cancel()
        await asyncio.gather(*self._consumers, return_exceptions=True)

    def expect(self, number: int) -> asyncio.Future[float]:
        """Return what will be the time at which the last member has the message of this number."""
        if number not in self._complete:
            self._missing[number] = self._count
            self._complete[number] = asyncio.get_running_loop().create_future()
        return self._complete[number]

    async def _consume(self, channel: str) -> None:
        while True:
            self._arrived(await self._layer.receive(channel))

    def _arrived(self, message: dict[str, Any]) -> None:
        number = message["number"]
        complete = self.expect(number)
        self._missing[number] -= 1
        if not self._missing[number]:
            complete.set_result(time.monotonic())


async def main() -> None:
    """Be a process of a crew."""
    job, share = assignment(sys.stdin.readline())
    layer = job.layer()
    over = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    async with Members(layer, share["members"]) as members:
        say(None)
        number = 0
        while not over.done():
            arrived = members.expect(number)
            await asyncio.wait([arrived, over], return_when=asyncio.FIRST_COMPLETED)
            if arrived.done():
                say(arrived.result())
                number += 1


if __name__ == "__main__":
    asyncio.run(main())
