"""Whose a message is: layers side by side, event loops side by side, and forked processes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from support.loop_thread import LoopThread
from support.messages import cancel, take_numbers, within
from support.queue_layers import Layers, waiting
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import RunProcess

T = TypeVar("T")


@pytest.fixture
def other_loop() -> Iterator[LoopThread]:
    """Yield a second event loop."""
    with LoopThread() as other:
        yield other


def test_each_layer_has_an_id_of_its_own(layers: Layers) -> None:
    """Two aliases of one layer are two receivers."""
    ids = {layers().client_prefix for _ in range(20)}
    assert len(ids) == 20


async def test_forked_processes(layers: Layers, run_process: RunProcess) -> None:
    """A layer that a process uses while it forks: parent and children get what is theirs."""
    script = Path(__file__).parent / "forking_worker.py"
    worker = await run_process(script, **layers.options)
    result = await worker.read()
    assert len({name.partition("!")[0] for name in result["channels"]}) == 3
    assert result["parent"] == [
        {"to": "parent", "when": "before"},
        {"to": "parent"},
        {"to": "all"},
        {"to": "parent", "when": "after"},
    ]
    assert result["children"] == [[{"to": f"child {n}"}, {"to": "all"}] for n in range(2)]
    assert result["statuses"] == [0, 0]
    await worker.stop()


async def test_two_loops(layers: Layers, other_loop: LoopThread) -> None:
    """Consumers in two loops of a process get what is theirs, whichever loop sends."""
    layer = layers()
    here, there = await layer.new_channel(), await other_loop.run(layer.new_channel())
    await layer.group_add("room", here)
    await other_loop.run(layer.group_add("room", there))
    receiving_here = await waiting(layer, here)
    receiving_there = other_loop.start(layer.receive(there))
    await layer.send(there, {"to": "there"})
    await other_loop.run(layer.send(here, {"to": "here"}))
    assert await within(receiving_here) == {"to": "here"}
    assert await within(asyncio.wrap_future(receiving_there)) == {"to": "there"}
    for number in range(50):
        await layer.group_send("room", {"number": number})
    assert await take_numbers(layer, here, 50) == list(range(50))
    assert await other_loop.run(take_numbers(layer, there, 50)) == list(range(50))
    await other_loop.run(layer.close_pools())


async def test_receivers_of_a_general_channel_in_two_loops(
    layers: Layers, other_loop: LoopThread
) -> None:
    """Each message goes to one receiver, in whichever loop, and none gets lost."""
    layer, sender = layers(), layers(capacity=1000)
    numbers: list[int] = []

    async def drain() -> None:
        while True:
            numbers.append((await layer.receive("jobs"))["number"])

    here = [asyncio.create_task(drain()) for _ in range(3)]
    there = [other_loop.start(drain()) for _ in range(3)]
    for number in range(500):
        await sender.send("jobs", {"number": number})
    await eventually(lambda: len(numbers) >= 500)
    await cancel(*here)
    for future in there:
        future.cancel()
    assert sorted(numbers) == list(range(500))
