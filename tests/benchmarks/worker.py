"""Runs one workload on one layer in this process, and writes what it measured to standard output.

Usage: python -m benchmarks.worker LAYER_CLASS SERVER_URL WORK
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import TYPE_CHECKING

import redis

from benchmarks.catalogue import CATALOGUE
from benchmarks.measuring import Bench

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from channels.layers import BaseChannelLayer

    from benchmarks.catalogue import Work

# Nothing here is about overflow: enough for the 10,000 messages that wait at once in some work.
CAPACITY = 20_000


def make_layer(dotted_name: str, url: str) -> BaseChannelLayer:
    """Construct the layer class of that name, as CHANNEL_LAYERS would."""
    module, _, name = dotted_name.rpartition(".")
    return getattr(importlib.import_module(module), name)(hosts=[url], capacity=CAPACITY)


def run(work: Work, bench: Bench) -> float:
    """Run the work to its end and return its result."""

    async def finish(started: Coroutine[None, None, None]) -> None:
        await started
        await bench.layer.flush()

    started = work.run(bench)
    if started is not None:  # Otherwise it was synchronous, and is done.
        asyncio.run(finish(started))
    return bench.result


def main(layer_class: str, url: str, name: str) -> None:
    """Measure and report."""
    work = next(work for work in CATALOGUE if work.name == name)
    with redis.Redis.from_url(url) as server:
        result = run(work, Bench(make_layer(layer_class, url), server))
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
