"""The workloads reach their end on a layer that is known to be right."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from channels.layers import InMemoryChannelLayer

from benchmarks.catalogue import CATALOGUE
from benchmarks.measuring import Bench
from benchmarks.worker import CAPACITY, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.catalogue import Work
    from embedded_server import EmbeddedServer


# Channels' own layer looks at every channel for each message, so many members take it minutes.
TOO_MANY_MEMBERS = {"group-1000", "group-bytes", "group-calls", "delivery-bytes"}
SMALL_ENOUGH = [work for work in CATALOGUE if work.name not in TOO_MANY_MEMBERS]


@pytest.fixture(autouse=True)
def _unfreeze() -> Iterator[None]:
    """Restore the garbage collector after the stopwatch."""
    yield
    gc.unfreeze()


@pytest.mark.parametrize("work", SMALL_ENOUGH, ids=lambda work: work.name)
def test_every_message_of_the_work_arrives(work: Work, own_server: EmbeddedServer) -> None:
    """The work ends, which it does only when all it waits for has arrived, with a figure."""
    with own_server.client() as server:
        bench = Bench(InMemoryChannelLayer(capacity=CAPACITY), server, seconds=0.0)
        assert run(work, bench) >= 0.0
