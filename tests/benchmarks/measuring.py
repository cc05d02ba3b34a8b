"""The arguments of every workload: a layer, its server, and a stopwatch."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import redis
    from channels.layers import BaseChannelLayer

# channels_redis returns from its subscribe before the server has confirmed it, and a reader needs
# a moment to reach its blocking call: nothing to await for either.
SETTLE_SECONDS = 0.2


class Stopwatch:
    """Times passes of the same work until it has enough of them.

    Garbage that the set-up left is taken out of the collector's work; what a pass leaves stays
    in it, since that is part of what the work costs.
    """

    def __init__(self, seconds: float, at_least: int) -> None:
        gc.collect()
        gc.freeze()
        self._stop = time.perf_counter() + seconds
        self._at_least = at_least
        self._began = 0.0
        self._took: list[float] = []

    def unfinished(self) -> bool:
        """Return whether another pass is wanted."""
        return len(self._took) < self._at_least or time.perf_counter() < self._stop

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_exception: object) -> None:
        self._took.append(time.perf_counter() - self._began)

    def median(self) -> float:
        """Return the median duration of a pass, in seconds."""
        return statistics.median(self._took)


async def _nothing() -> None:
    """Do nothing."""


@dataclass
class Bench:
    """One run of one workload on one layer; `result` is what it found.

    `seconds` is the least time to measure for.
    """

    layer: BaseChannelLayer
    server: redis.Redis
    seconds: float = 0.6
    result: float = field(default=float("nan"), init=False)

    async def measure(
        self,
        one_pass: Callable[[], Awaitable[object]],
        *,
        operations: int,
        before: Callable[[], Awaitable[object]] = _nothing,
        warm_up: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Repeat `one_pass`; the result is its median duration in seconds per operation.

        `before` runs ahead of each pass and is not timed. Neither is the first pass, which opens
        connections and loads scripts; `warm_up` can do that instead.
        """
        await before()
        await (warm_up or one_pass)()
        watch = Stopwatch(self.seconds, at_least=1)
        while watch.unfinished():
            await before()
            with watch:
                await one_pass()
        self.result = watch.median() / operations

    def measure_blocking(self, one_pass: Callable[[], object], *, operations: int) -> None:
        """Do the same for synchronous code, for 5 passes or more."""
        one_pass()
        watch = Stopwatch(self.seconds, at_least=5)
        while watch.unfinished():
            with watch:
                one_pass()
        self.result = watch.median() / operations


class Arrivals:
    """Counts messages as they arrive; `expect` then `all_in` waits for that many."""

    def __init__(self) -> None:
        self._missing = 0
        self._all_in = asyncio.Event()

    def expect(self, count: int) -> None:
        """Wait for so many messages from now on."""
        self._missing = count
        self._all_in.clear()

    def one(self) -> None:
        """Count one message."""
        self._missing -= 1
        if self._missing == 0:
            self._all_in.set()

    async def all_in(self) -> None:
        """Return when everything expected has arrived."""
        await self._all_in.wait()


@contextlib.asynccontextmanager
async def listening(layer: BaseChannelLayer, channels: list[str]) -> AsyncIterator[Arrivals]:
    """Read each channel in a task of its own, always waiting in `receive`, as a consumer does."""
    arrivals = Arrivals()

    async def consume(channel: str) -> None:
        while True:
            await layer.receive(channel)
            arrivals.one()

    consumers = [asyncio.ensure_future(consume(channel)) for channel in channels]
    await asyncio.sleep(SETTLE_SECONDS)
    watch = asyncio.gather(*consumers)
    try:
        yield arrivals
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
