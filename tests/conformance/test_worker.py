"""A worker process: Channels' own ``runworker`` command, on each layer that queues."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.capabilities import Capability, needs
from conformance.promises import Required, checks
from support.messages import Message, joined, take_many, within

if TYPE_CHECKING:
    from conformance.layer_case import ChannelLayer, LayerCase
    from conftest import RunProcess
    from support.processes import WorkerProcess

RUN_WORKER = Path(__file__).parent / "run_worker.py"


@checks(Required.APPLICATIONS)
@needs(Capability.QUEUE, Capability.PROCESSES)
async def test_runworker_does_the_work_of_two_channels(
    case: LayerCase, layer: ChannelLayer, run_process: RunProcess
) -> None:
    """A worker takes what was sent before it started and after, and answers to a group.

    One of its consumers is asynchronous, the other is not. Ctrl-C ends it without a complaint.
    """
    answers = await joined(layer, "answers")
    await send_jobs(layer, range(5))
    worker = await run_process(RUN_WORKER, backend=case.variant.backend, config=case.config)
    done = await answered(layer, answers, worker)
    await send_jobs(layer, range(5, 10))
    done += await answered(layer, answers, worker)
    assert sorted((answer["channel"], answer["number"]) for answer in done) == [
        (channel, number) for channel in ("images", "mails") for number in range(10)
    ]
    await worker.stop()
    assert await worker.read() == {"complaints": []}


async def answered(layer: ChannelLayer, answers: str, worker: WorkerProcess) -> list[Message]:
    """Return the next ten answers; a worker that ends before fails with what it wrote."""
    ending = asyncio.ensure_future(worker.read())
    receiving = asyncio.ensure_future(take_many(layer, answers, 10))
    await asyncio.wait({ending, receiving}, return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if not receiving.done():
        receiving.cancel()
        await ending
    return await receiving


async def send_jobs(layer: ChannelLayer, numbers: range) -> None:
    """Send some work to each of the worker's channels."""
    for number in numbers:
        await within(layer.send("images", {"type": "image.scale", "number": number}))
        await within(layer.send("mails", {"type": "mail.send", "number": number}))
