"""Sends that overlap in short-lived loops, to a consumer in this process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

from blocking.programs.setting import make_layer, say

LOOPS = 60
CALLS = 4
layer = make_layer()
server = int(sys.argv[3])
joined = threading.Event()
got: list[int] = []


async def consume() -> None:
    """Receive what all loops send."""
    channel = await layer.new_channel()
    receiving = asyncio.ensure_future(layer.receive(channel))
    await layer.group_add("room", channel)
    joined.set()
    for _ in range(LOOPS * CALLS):
        got.append((await receiving)["number"])
        receiving = asyncio.ensure_future(layer.receive(channel))
    receiving.cancel()


async def overlap(loop: int) -> None:
    """Begin several calls, each some turns of the loop after the one before.

    Meanwhile the server stands still, so that all of them are under way together.
    """
    os.kill(server, signal.SIGSTOP)
    calls = []
    for number in range(CALLS):
        message = {"type": "hello", "number": loop * CALLS + number}
        calls.append(asyncio.ensure_future(layer.group_send("room", message)))
        for _ in range(loop % 6):
            await asyncio.sleep(0)
    os.kill(server, signal.SIGCONT)
    await asyncio.gather(*calls)


consumer = threading.Thread(target=lambda: asyncio.run(consume()))
consumer.start()
joined.wait(20)
for loop in range(LOOPS):
    asyncio.run(overlap(loop))
consumer.join(20)
say("in order", got == list(range(LOOPS * CALLS)))
