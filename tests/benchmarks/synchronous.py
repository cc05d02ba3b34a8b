"""Work of callers without an event loop: views, tasks, signals."""

from __future__ import annotations

import asyncio
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from asgiref.sync import async_to_sync

from benchmarks.foreign import simulate_members
from benchmarks.workloads import GROUP, MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.measuring import Bench

# How often both sides of a comparison run, in turn.
PAIRS = 16


def from_synchronous_code(bench: Bench) -> None:
    """1,000 `async_to_sync(layer.group_send)` calls from one thread without an event loop."""
    simulate_members(bench.server, processes=1, members=1)
    call = async_to_sync(bench.layer.group_send)

    def one_pass() -> None:
        for _ in range(200):
            call(GROUP, MESSAGE)

    bench.measure_blocking(one_pass, operations=200)


def from_16_threads(bench: Bench) -> None:
    """The same 1,000 calls from 16 threads at once."""
    simulate_members(bench.server, processes=1, members=1)
    call = async_to_sync(bench.layer.group_send)
    with ThreadPoolExecutor(16) as threads:

        def one_pass() -> None:
            for done in [threads.submit(call, GROUP, MESSAGE) for _ in range(200)]:
                done.result()

        bench.measure_blocking(one_pass, operations=200)


def from_a_loop_for_each_call(bench: Bench) -> None:
    """1,000 `asyncio.run(layer.group_send(…))` calls."""
    simulate_members(bench.server, processes=1, members=1)

    def one_pass() -> None:
        for _ in range(200):
            asyncio.run(bench.layer.group_send(GROUP, MESSAGE))

    bench.measure_blocking(one_pass, operations=200)


def beside_doing_nothing(bench: Bench) -> None:
    """Compare the calls from one thread with calls of a coroutine that does nothing, in turn."""

    async def nothing(_group: str, _message: object) -> None:
        pass

    simulate_members(bench.server, processes=1, members=1)
    ratios = []
    for _ in range(PAIRS):
        with_the_layer, without = (
            _seconds(async_to_sync(call)) for call in (bench.layer.group_send, nothing)
        )
        ratios.append(with_the_layer / without)
    # The first pair opened connections.
    bench.result = statistics.median(ratios[1:])


def _seconds(call: Callable[[str, object], None]) -> float:
    began = time.perf_counter()
    for _ in range(100):
        call(GROUP, MESSAGE)
    return time.perf_counter() - began
