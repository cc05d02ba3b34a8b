"""Two loops in two threads receive on one layer, and send to each other's channels."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from blocking.programs.setting import make_layer, say

MESSAGES = 200
layer = make_layer()
names: dict[int, str] = {}
ready = threading.Barrier(2)


async def talk(number: int) -> list[Any]:
    """Make a channel, exchange names, then send and receive at the same time."""
    channel = names[number] = await layer.new_channel()
    receiving = asyncio.ensure_future(layer.receive(channel))
    await asyncio.to_thread(ready.wait, 20)

    async def send() -> None:
        for count in range(MESSAGES):
            await layer.send(names[1 - number], {"type": "hello", "from": number, "count": count})

    sending = asyncio.ensure_future(send())
    got = []
    for _ in range(MESSAGES):
        got.append(await receiving)
        receiving = asyncio.ensure_future(layer.receive(channel))
    await sending
    # Neither ends before both are served: the loop that ends takes its connections along.
    await asyncio.to_thread(ready.wait, 20)
    receiving.cancel()
    return [(message["from"], message["count"]) for message in got]


def run(number: int) -> None:
    """Run one loop to its end, and say what its channel got."""
    expected = [(1 - number, count) for count in range(MESSAGES)]
    results[number] = asyncio.run(talk(number)) == expected


results: dict[int, bool] = {}
threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
say(results[0], results[1])
