"""Consumers: each waits in `receive`, in its own task, as those of Channels do."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from typing import TYPE_CHECKING, Any

from support.worker import reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from channels.layers import BaseChannelLayer
    from typing_extensions import Self

    from benchmarks.survey.trial import Job

GROUP = "room"
JOBS = "thumbnails"
# channels_redis returns from its subscribe before the server has confirmed it, and a reader needs
# a moment to reach its blocking call: nothing to await for either.
SETTLE_SECONDS = 0.2
AT_A_TIME = 50  # members that join


class Arrivals:
    """Counts messages as they arrive; `expect` then `all_in` waits for that many."""

    def __init__(self) -> None:
        self._missing = 0
        self._all_in = asyncio.Event()

    def expect(self, count: int) -> None:
        """Wait for so many messages from now on."""
        self._missing = count
        self._all_in.clear()

    def one(self, _: object) -> None:
        """Count one message."""
        self._missing -= 1
        if self._missing == 0:
            self._all_in.set()

    async def all_in(self) -> None:
        """Return when everything expected has arrived."""
        await self._all_in.wait()


@contextlib.asynccontextmanager
async def consuming(
    layer: BaseChannelLayer, channels: Iterable[str], handle: Callable[[dict[str, Any]], None]
) -> AsyncIterator[None]:
    """Hand each message of the channels to a function, until the block ends."""

    async def consume(channel: str) -> None:
        while True:
            handle(await layer.receive(channel))

    consumers = [asyncio.ensure_future(consume(channel)) for channel in channels]
    await asyncio.sleep(SETTLE_SECONDS)
    watch = asyncio.gather(*consumers)
    try:
        yield
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


@contextlib.asynccontextmanager
async def listening(layer: BaseChannelLayer, channels: list[str]) -> AsyncIterator[Arrivals]:
    """Count what arrives on the channels."""
    arrivals = Arrivals()
    async with consuming(layer, channels, arrivals.one):
        yield arrivals


async def join(layer: BaseChannelLayer, members: int) -> list[str]:
    """Put so many new channels into the group, 50 at a time, and return them."""
    channels = [await layer.new_channel() for _ in range(members)]
    add = functools.partial(layer.group_add, GROUP)
    for start in range(0, members, AT_A_TIME):
        await asyncio.gather(*map(add, channels[start : start + AT_A_TIME]))
    return channels


class Consumers:
    """Consumers of this process, with their own layer. Use them in an `async with`."""

    def __init__(self, job: Job) -> None:
        self.layer = job.layer()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        channels = await self.channels()
        await self._stack.enter_async_context(consuming(self.layer, channels, self.handle))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def channels(self) -> list[str]:
        """Return the channel of each consumer."""
        raise NotImplementedError

    def handle(self, message: dict[str, Any]) -> None:
        """Note a message of one of them."""
        raise NotImplementedError


class Members(Consumers):
    """Members of the group who note when all of them have a message."""

    def __init__(self, job: Job, members: int) -> None:
        super().__init__(job)
        self._count = members
        self._missing: dict[int, int] = {}
        self._complete: dict[int, asyncio.Future[float]] = {}

    async def channels(self) -> list[str]:
        """Join the group."""
        return await join(self.layer, self._count)

    def expect(self, number: int) -> asyncio.Future[float]:
        """Return what will be the time at which the last member has the message of this number."""
        if number not in self._complete:
            self._missing[number] = self._count
            self._complete[number] = asyncio.get_running_loop().create_future()
        return self._complete[number]

    async def announce(self, number: int) -> None:
        """Reply once more as soon as the last member has the message of this number."""
        self.expect(number).add_done_callback(lambda arrived: reply(result=arrived.result()))

    def handle(self, message: dict[str, Any]) -> None:
        """Count who has it."""
        number = message["number"]
        complete = self.expect(number)
        self._missing[number] -= 1
        if not self._missing[number]:
            complete.set_result(time.monotonic())


class Worker(Consumers):
    """A worker, which handles what arrives on a general channel."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._numbers: list[int] = []

    async def channels(self) -> list[str]:
        """Return the general channel."""
        return [JOBS]

    def handle(self, message: dict[str, Any]) -> None:
        """Note its number."""
        self._numbers.append(message["number"])

    async def handled(self) -> list[int]:
        """Return the numbers of the messages that were handled since the last call."""
        numbers, self._numbers = self._numbers, []
        return numbers
